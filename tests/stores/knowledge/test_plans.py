"""What a document costs does not depend on how many there are, whatever the planner makes of small tenants beside a large."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from memoryd.stores.jobs.order import EARLIER, OVERTAKEN, TO_COME
from memoryd.stores.knowledge.beginnings import _INSERT_NEW
from memoryd.stores.knowledge.drafts import _FINISH
from memoryd.stores.knowledge.locks import BEGINNING, ENDING
from memoryd.stores.knowledge.revisions import LIVE, REVISIONS
from memoryd.stores.knowledge.writing import TO_END, TO_GO_ON
from tests.stack import Stack
from tests.stores.knowledge.shelf import Shelf

STATEMENTS = [BEGINNING, REVISIONS, _INSERT_NEW, LIVE, ENDING, TO_END, TO_GO_ON, _FINISH]
_INTO = """
INSERT INTO kb_documents (tenant_id, kb_id, document_id, from_seq, complete, content_hash, settings_hash, bytes, stored_at)
"""
_LARGE = """
SELECT %(tenant)s, %(kb)s, 'large' || i, 1, i > %(begun)s, '\\x00', '\\x00', 1, now() FROM generate_series(1, 20000) i
"""
# Documents that were begun have left their index wide, however few are being written now.
_LEFT = """
DELETE FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND NOT complete AND document_id NOT IN ('large1', 'large2')
"""
_SMALL = """
SELECT one.tenant, one.kb, 'small' || i, 1, true, '\\x00', '\\x00', 1, now()
FROM (SELECT coalesce(%(tenant)s::uuid, gen_random_uuid()) AS tenant, gen_random_uuid() AS kb
      FROM generate_series(1, %(many)s)) one, generate_series(1, 4) i
"""
_ITEMS = """
INSERT INTO job_items (tenant_id, job_id, item, document_id, source, not_before)
SELECT %(tenant)s, one.job, i, 'item' || i, '{}', now()
FROM (SELECT gen_random_uuid() AS job FROM generate_series(1, %(many)s)) one, generate_series(1, %(items)s) i
"""


def numbered(sql: str) -> str:
    """With numbers for the names of parameters."""
    names: dict[str, str] = {}
    return re.sub(r"%\((\w+)\)s", lambda named: names.setdefault(named[1], f"${len(names) + 1}"), sql)


def scans(plan: dict[str, Any], table: str) -> Iterator[dict[str, Any]]:
    if plan.get("Relation Name") == table and "Scan" in plan["Node Type"]:
        yield plan
    for one in plan.get("Plans", []):
        yield from scans(one, table)


@pytest.mark.parametrize("begun", [0, 4000])
@pytest.mark.parametrize(("of_tenant", "many"), [(True, 200), (False, 20), (False, 1500), (False, 6000)])
async def test_documents_are_looked_for_by_their_ids(shelf: Shelf, stack: Stack, of_tenant: bool, many: int, begun: int) -> None:
    params = {"tenant": shelf.scope.tenant_id, "kb": shelf.kb, "begun": begun}
    async with await psycopg.AsyncConnection.connect(stack.superuser_url) as connection:
        # Nobody else sees it, and nothing of it stays.
        for setting in ("session_replication_role = replica", "search_path = memoryd, public"):
            await connection.execute(f"SET LOCAL {setting}")
        await connection.execute(_INTO + _LARGE, params)
        await connection.execute(_INTO + _SMALL, {"tenant": shelf.scope.tenant_id if of_tenant else None, "many": many})
        await connection.execute(_LEFT, params)
        await connection.execute("ANALYZE kb_documents")
        for sql in STATEMENTS:
            explained = await connection.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {numbered(sql)}".encode())
            ((plans,),) = await explained.fetchall()
            for scan in scans(plans[0]["Plan"], "kb_documents"):
                by_id = "document" in scan.get("Index Cond", "") or scan.get("Index Name") == "kb_documents_staging"
                assert by_id, f"{scan.get('Index Name')} {scan.get('Index Cond')}: {sql}"
        await connection.rollback()


@pytest.mark.parametrize(("many", "items"), [(0, 0), (2000, 1), (20, 5000)])
async def test_other_jobs_of_a_document_are_looked_for_by_its_id(shelf: Shelf, stack: Stack, many: int, items: int) -> None:
    params = {"tenant": shelf.scope.tenant_id, "many": many, "items": items}
    async with await psycopg.AsyncConnection.connect(stack.superuser_url) as connection:
        for setting in ("session_replication_role = replica", "search_path = memoryd, public"):
            await connection.execute(f"SET LOCAL {setting}")
        await connection.execute(_ITEMS, params | {"many": 1, "items": 10000})
        await connection.execute(_ITEMS, params)
        await connection.execute("ANALYZE job_items")
        for sql in (OVERTAKEN, EARLIER, TO_COME, _INSERT_NEW):
            explained = await connection.execute(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {numbered(sql)}".encode())
            ((plans,),) = await explained.fetchall()
            assert {scan["Index Name"] for scan in scans(plans[0]["Plan"], "job_items")} == {"job_items_of"}
        await connection.rollback()
