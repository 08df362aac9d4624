"""``/v1/knowledge-bases``: the knowledge bases themselves, their versions, and what moves the pointer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from memoryd.errors import StoreUnavailable
from memoryd.http.caller import Caller, Once, Uses
from memoryd.http.cursors import from_cursor, from_diff_cursor, to_cursor, whole
from memoryd.http.knowledge_views import base_out, chunking, chunking_change, collected_out, diff_out, version_out
from memoryd.http.problems import documented
from memoryd.http.schemas.knowledge import (
    BaseIn,
    BaseName,
    BaseOut,
    BasePage,
    BasePatch,
    CollectedOut,
    DiffOut,
    PublishIn,
    RollbackIn,
    Selector,
    TagIn,
    TagName,
    VersionOut,
    VersionPage,
)
from memoryd.http.strict import StrictRoute
from memoryd.knowledge.model import UNSET, BaseChange
from memoryd.knowledge.services import KnowledgeServices
from memoryd.memory.ports import Receipt

router = APIRouter(prefix="/v1/knowledge-bases", tags=["knowledge"], route_class=StrictRoute)


async def knowledge_services(use: Uses) -> KnowledgeServices:
    """The use cases of knowledge bases."""
    return use.knowledge


Knowledge = Annotated[KnowledgeServices, Depends(knowledge_services)]
Base = Annotated[BaseName, Path(description="The knowledge base's name")]
Limit = Annotated[int, Query(ge=1, le=200)]
# In base64: a document's id of 500 characters may have 2,000 bytes.
Cursor = Annotated[str | None, Query(max_length=3_000)]
_WITHOUT_NOTE = PublishIn()


@router.post("", status_code=201, responses=documented(409), operation_id="create_knowledge_base")
async def create(body: BaseIn, scope: Caller, use: Knowledge, once: Once) -> BaseOut:
    """Make a knowledge base. There is nothing to read in it before its first publish."""

    async def make() -> Receipt:
        base = await use.bases.create(
            scope,
            name=body.name,
            space=body.space,
            description=body.description,
            chunking=chunking(body.chunking),
            retain=body.retain,
        )
        return {"name": base.name}

    await use.once.run(scope, once, make)
    return base_out(await use.bases.get(scope, body.name))


@router.get("", responses=documented(), operation_id="list_knowledge_bases")
async def list_(scope: Caller, use: Knowledge, limit: Limit = 50, cursor: Cursor = None) -> BasePage:
    """Knowledge bases by name; a confined key sees those of its spaces."""
    after = from_cursor(cursor) if cursor is not None else None
    found = await use.bases.page(scope, after=after, limit=limit + 1)
    return BasePage(
        knowledge_bases=[base_out(one) for one in found[:limit]],
        next_cursor=to_cursor(found[limit - 1].name) if len(found) > limit else None,
    )


@router.get("/{name}", responses=documented(404), operation_id="get_knowledge_base")
async def get(name: Base, scope: Caller, use: Knowledge) -> BaseOut:
    """One knowledge base, and which version is live."""
    return base_out(await use.bases.get(scope, name))


@router.patch("/{name}", responses=documented(404, 409), operation_id="update_knowledge_base")
async def update(name: Base, body: BasePatch, scope: Caller, use: Knowledge, once: Once) -> BaseOut:
    """Change the description, settings of chunking, or the retention."""
    given = body.model_fields_set

    async def work() -> Receipt:
        change = BaseChange(
            description=body.description if "description" in given else UNSET,
            chunking=chunking_change(body.chunking),
            retain=body.retain if "retain" in given else UNSET,
        )
        await use.bases.update(scope, name, change)
        return {}

    await use.once.run(scope, once, work)
    return base_out(await use.bases.get(scope, name))


@router.delete("/{name}", status_code=204, responses=documented(404, 409), operation_id="delete_knowledge_base")
async def delete(name: Base, scope: Caller, use: Knowledge, once: Once) -> None:
    """Delete a knowledge base in every version, with its originals. It cannot be undone.

    At once it is there for nobody, but its name is taken until all is gone. Interrupted, it goes on when it is sent again, and
    in the worker's next round.
    """

    async def work() -> Receipt:
        await use.bases.delete(scope, name)
        return {}

    await use.once_long.run(scope, once, work)


@router.get("/{name}/versions", responses=documented(404), operation_id="list_versions")
async def versions(name: Base, scope: Caller, use: Knowledge, limit: Limit = 50, cursor: Cursor = None) -> VersionPage:
    """Versions, newest first: the draft, if there is one, comes before them."""
    _, found = await use.versions.page(scope, name, before=whole(cursor), limit=limit + 1)
    return VersionPage(
        versions=[version_out(one) for one in found[:limit]],
        next_cursor=to_cursor(str(found[limit - 1].seq)) if len(found) > limit else None,
    )


@router.post("/{name}/publish", status_code=201, responses=documented(404, 409), operation_id="publish")
async def publish(name: Base, scope: Caller, use: Knowledge, once: Once, body: PublishIn = _WITHOUT_NOTE) -> VersionOut:
    """Verify the draft in every index and make it live. Readers see the old version or the new one, never a mix.

    409: there is no draft, a job still writes to it, another publish is under way, or the live version was rolled back
    since the draft was begun.
    """

    async def work() -> Receipt:
        return {"seq": (await use.versions.publish(scope, name, note=body.note)).seq}

    receipt = await use.once_long.run(scope, once, work)
    return await _version(use, scope, name, int(str(receipt["seq"])))


@router.post("/{name}/rollback", responses=documented(404, 409, 410), operation_id="rollback")
async def rollback(name: Base, body: RollbackIn, scope: Caller, use: Knowledge, once: Once) -> VersionOut:
    """Make an earlier (or later) version live: one pointer moves, nothing is copied."""

    async def work() -> Receipt:
        return {"seq": (await use.versions.rollback(scope, name, body.to)).seq}

    receipt = await use.once.run(scope, once, work)
    return await _version(use, scope, name, int(str(receipt["seq"])))


@router.put("/{name}/tags/{tag}", status_code=204, responses=documented(404, 409, 410), operation_id="tag_version")
async def tag(name: Base, tag: Annotated[TagName, Path()], body: TagIn, scope: Caller, use: Knowledge, once: Once) -> None:
    """Name a version, or give an existing name to another one. A tagged version is kept whatever the retention says."""

    async def work() -> Receipt:
        await use.versions.tag(scope, name, tag, body.version)
        return {}

    await use.once.run(scope, once, work)


@router.delete("/{name}/tags/{tag}", status_code=204, responses=documented(404, 409), operation_id="untag_version")
async def untag(name: Base, tag: Annotated[TagName, Path()], scope: Caller, use: Knowledge, once: Once) -> None:
    """Take a name away. The version stays, as long as the retention keeps it."""

    async def work() -> Receipt:
        await use.versions.tag(scope, name, tag, None)
        return {}

    await use.once.run(scope, once, work)


@router.get("/{name}/diff", responses=documented(404, 410), operation_id="diff_versions")
async def diff(
    name: Base,
    scope: Caller,
    use: Knowledge,
    after: Annotated[Selector, Query(description="A number, a tag, `live`, or `draft`")] = "draft",
    before: Annotated[Selector | None, Query(description="The same; if missing, what `after` was based on")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DiffOut:
    """What changed between two versions: documents and chunks. Compare the draft before publishing it.

    A chunk is what it says: it is added or removed, never changed. The next page is of the same two versions, whichever `live`,
    `draft` or a tag name by then.
    """
    found = from_diff_cursor(before, after, cursor)
    if found is None:
        return diff_out(await use.versions.diff(scope, name, before, after, limit=limit))
    return diff_out(await use.versions.diff_behind(scope, name, *found, limit=limit))


@router.delete("/{name}/draft", status_code=204, responses=documented(404, 409), operation_id="discard_draft")
async def discard(name: Base, scope: Caller, use: Knowledge, once: Once) -> None:
    """Drop everything that was staged."""

    async def work() -> Receipt:
        await use.versions.discard(scope, name)
        return {}

    await use.once_long.run(scope, once, work)


@router.post("/{name}/collect", responses=documented(404), operation_id="collect_versions")
async def collect(name: Base, scope: Caller, use: Knowledge) -> CollectedOut:
    """Give up the versions that the retention does not keep, now; the worker does it by and by. Safe to repeat.

    Rows of a version given up go once no request can still be reading it, and originals that nothing names once no job is left
    that may want them; a paused one may.
    """
    return collected_out(await use.versions.collect(scope, name))


async def _version(use: KnowledgeServices, scope: Caller, name: str, seq: int) -> VersionOut:
    _, found = await use.versions.page(scope, name, before=seq + 1, limit=1)
    if not found or found[0].seq != seq:
        raise StoreUnavailable("the version was collected at once; list the versions")
    return version_out(found[0])
