"""What the database holds, counted anew from its rows by a superuser, whom no row security hides anything from."""

from pathlib import Path
from typing import LiteralString

import psycopg

from memoryd.embedded.datadir import attached, read_state
from memoryd.embedded.postgres import PostgresServer
from memoryd.stores.names import DATABASE

# Each finds what must not be there: a row of it is a defect.
_DEFECTS: dict[str, LiteralString] = {
    "space statistics differ from the live passages": """
        SELECT tenant_id, space_id, s.documents, s.total_length, c.documents, c.total_length
        FROM space_statistics s
        FULL JOIN (SELECT tenant_id, space_id, count(*) AS documents, sum(length)::bigint AS total_length
                   FROM passages WHERE live GROUP BY tenant_id, space_id) c USING (tenant_id, space_id)
        WHERE coalesce(s.documents, 0) <> coalesce(c.documents, 0)
           OR coalesce(s.total_length, 0) <> coalesce(c.total_length, 0)""",
    "term statistics differ from the live passages": """
        SELECT tenant_id, term, s.documents, c.documents
        FROM term_statistics s
        FULL JOIN (SELECT tenant_id, term, count(*) AS documents
                   FROM passages, unnest(terms) AS term WHERE live GROUP BY tenant_id, term) c USING (tenant_id, term)
        WHERE coalesce(s.documents, 0) <> coalesce(c.documents, 0)""",
    "a passage has other postings than its terms and facets": """
        SELECT tenant_id, pid, term, o.live, w.live
        FROM (SELECT tenant_id, pid, live, unnest(terms || facets) AS term FROM passages) w
        FULL JOIN postings o USING (tenant_id, pid, term)
        WHERE o.live IS DISTINCT FROM w.live""",
    "a passage has not one vector of the live generation": """
        SELECT p.tenant_id, p.pid, count(e.pid)
        FROM passages p
        LEFT JOIN embeddings e ON e.tenant_id = p.tenant_id AND e.pid = p.pid AND e.live = p.live
             AND e.space_id = p.space_id AND e.generation = (SELECT generation FROM generations WHERE state = 'live')
        GROUP BY p.tenant_id, p.pid HAVING count(e.pid) <> 1""",
    "a memory has not one live revision with passages": """
        SELECT m.tenant_id, m.memory_id, count(DISTINCT r.revision), count(p.pid)
        FROM memories m
        LEFT JOIN memory_revisions r ON r.tenant_id = m.tenant_id AND r.memory_id = m.memory_id AND r.live
        LEFT JOIN passages p ON p.tenant_id = r.tenant_id AND p.memory_id = r.memory_id AND p.revision = r.revision AND p.live
        WHERE m.deleted_at IS NULL
        GROUP BY m.tenant_id, m.memory_id HAVING count(DISTINCT r.revision) <> 1 OR count(p.pid) = 0""",
    "a memory is not in the audit log exactly once": """
        SELECT memory_id, count(a.id)
        FROM memories
        FULL JOIN (SELECT unnest(object_ids) AS id FROM audit_log WHERE action = 'memory.create') a ON a.id = memory_id
        GROUP BY memory_id HAVING memory_id IS NULL OR count(a.id) <> 1""",
    "an idempotency key has no answer": "SELECT tenant_id, key FROM idempotency_keys WHERE response IS NULL",
}
_COUNTS: LiteralString = """
SELECT (SELECT count(*) FROM memories), (SELECT count(*) FROM passages WHERE live),
       (SELECT count(*) FROM postings WHERE live), (SELECT count(*) FROM idempotency_keys)
"""


def defects(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """Where rows and what is derived from them disagree, with the first few rows; empty when all is well."""
    found: dict[str, list[tuple[object, ...]]] = {}
    with _superuser(data) as connection:
        for name, sql in _DEFECTS.items():
            rows = connection.execute(sql).fetchmany(5)
            if rows:
                found[name] = rows
    return found


def counts(data: Path) -> dict[str, int]:
    """How much there is; to see that the recount had something to count."""
    with _superuser(data) as connection:
        row = connection.execute(_COUNTS).fetchone()
    assert row is not None
    return {
        name: int(str(value)) for name, value in zip(("memories", "passages", "postings", "idempotency_keys"), row, strict=True)
    }


def _superuser(data: Path) -> "psycopg.Connection[tuple[object, ...]]":
    state = read_state(data)
    assert state is not None
    folder = attached(data)
    server = PostgresServer(folder, port=state.ports["postgres"])
    url = server.tcp_url("postgres", folder.credentials.postgres_superuser, DATABASE)
    return psycopg.connect(url, options="-c search_path=memoryd,public", autocommit=True)
