"""What an item came to, as rows: its end with the counters of its job, or its return into the queue."""

from collections.abc import Mapping
from typing import LiteralString

from psycopg.types.json import Jsonb

from memoryd.jobs.model import Again, Dead, ItemState, Outcome
from memoryd.stores.jobs.rows import BEAT, OF
from memoryd.stores.trips import Statement

# Sent together with what locks the job's row, and so says itself whether that was found, and is to go on.
STILL: LiteralString = f"EXISTS (SELECT FROM jobs WHERE {OF} AND lease_owner = %(owner)s)"
# What their checkpoints counted gives way to what they came to. Only what may be tried again needs its source, which may be a
# text.
_END_ITEMS = f"""
WITH ended AS (
    UPDATE job_items i SET state = g.state, reason = g.reason, detail = g.detail, chunks = g.chunks, tokens = g.tokens,
        bytes = g.bytes, pages = g.pages, finished_at = %(now)s, dead = g.dead,
        source = CASE WHEN g.state = 'failed' THEN i.source ELSE '{{}}' END
    FROM jsonb_to_recordset(%(ends)s::jsonb) AS g(item int, state text, reason text, detail text, chunks int, tokens bigint,
            bytes bigint, pages int, dead boolean)
        JOIN (SELECT item, chunks, tokens, bytes FROM job_items
              WHERE {OF} AND item = ANY(%(ended)s::int[]) AND state = 'running' AND {STILL}) before USING (item)
    WHERE i.tenant_id = %(tenant)s AND i.job_id = %(job)s AND i.item = g.item AND i.state = 'running'
    RETURNING g.state, g.chunks - before.chunks AS chunks, g.tokens - before.tokens AS tokens, g.bytes - before.bytes AS bytes),
came AS (
    SELECT count(*) FILTER (WHERE state = 'succeeded') AS well, count(*) FILTER (WHERE state = 'unchanged') AS same,
        count(*) FILTER (WHERE state = 'failed') AS badly, sum(chunks) AS more_chunks, sum(tokens) AS more_tokens,
        sum(bytes) AS more_bytes
    FROM ended HAVING count(*) > 0)
UPDATE jobs SET {BEAT}, lease_until = %(until)s, succeeded = succeeded + well, unchanged = unchanged + same,
    failed = failed + badly, chunks = chunks + more_chunks, tokens = tokens + more_tokens, bytes = bytes + more_bytes,
    revision = revision + 1
FROM came WHERE {OF}
"""
_BACK = f"""
UPDATE job_items SET state = 'queued', attempts = attempts - %(uncounted)s, not_before = %(due)s, reason = %(reason)s,
    detail = %(detail)s, started_at = CASE WHEN %(untouched)s THEN NULL ELSE started_at END
WHERE {OF} AND item = %(item)s AND state = 'running' AND {STILL}
"""


def returning(verdict: Again, params: dict[str, object]) -> Statement:
    """What queues the item that ``params`` name."""
    failure = verdict.failure
    back = {
        "uncounted": int(not verdict.counted),
        "due": verdict.not_before,
        "untouched": verdict.untouched,
        "reason": failure.code if failure else None,
        "detail": failure.detail if failure else None,
    }
    return _BACK, params | back


def ending(verdicts: Mapping[int, Outcome | Dead], params: dict[str, object]) -> Statement:
    """What ends items, by their numbers."""
    ends = [{"item": item} | _said(verdict) for item, verdict in verdicts.items()]
    return _END_ITEMS, params | {"ends": Jsonb(ends), "ended": list(verdicts)}


def _said(verdict: Outcome | Dead) -> dict[str, object]:
    if isinstance(verdict, Dead):
        return _said(Outcome(ItemState.FAILED, verdict.failure.code, verdict.failure.detail)) | {"dead": True}
    return {
        "state": verdict.state,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "chunks": verdict.chunks,
        "tokens": verdict.tokens,
        "bytes": verdict.size,
        "pages": verdict.pages,
        "dead": False,
    }
