"""Resources about knowledge bases: which there are, and their versions."""

from urllib.parse import quote, unquote

from mcp.types import Resource, ResourceTemplate
from pydantic import JsonValue

from memoryd.errors import NotFound
from memoryd.knowledge.model import KnowledgeBase, Version
from memoryd.services import Services
from retrieval.scope import Scope

BASES = "memoryd://knowledge-bases"
_VERSIONS = "/versions"
_LISTED = 100
_JSON = "application/json"


def template() -> ResourceTemplate:
    """The versions of any knowledge base."""
    return ResourceTemplate(
        uri_template=f"{BASES}/{{name}}{_VERSIONS}",
        name="versions of a knowledge base",
        description="What search_knowledge can be pinned to, newest first",
        mime_type=_JSON,
    )


async def resources(scope: Scope, use: Services) -> list[Resource]:
    """The list of knowledge bases, and the versions of the first hundred."""
    listed = Resource(uri=BASES, name="knowledge bases", description="Those that this key may search", mime_type=_JSON)
    return [listed, *map(_resource, await use.knowledge.bases.page(scope, after=None, limit=_LISTED))]


async def read(scope: Scope, use: Services, uri: str) -> JsonValue:
    """What a resource holds: at most a hundred knowledge bases, or versions. Raises ``NotFound``."""
    if uri == BASES:
        found = await use.knowledge.bases.page(scope, after=None, limit=_LISTED + 1)
        return {"knowledge_bases": [_base(one) for one in found[:_LISTED]], "more": len(found) > _LISTED}
    name = named(uri, f"{BASES}/", _VERSIONS)
    if name is None:
        raise NotFound(f"no such resource; {BASES} lists what there is")
    base, versions = await use.knowledge.versions.page(scope, name, before=None, limit=_LISTED + 1)
    return _base(base) | {"versions": [_version(base, one) for one in versions[:_LISTED]], "more": len(versions) > _LISTED}


def named(uri: str, before: str, after: str) -> str | None:
    """The name between two parts of a URI; ``None`` where there is none, or one that nothing can have."""
    quoted = uri.removeprefix(before).removesuffix(after)
    name = unquote(quoted)
    return name if uri == f"{before}{quoted}{after}" and name.isprintable() else None


def _resource(base: KnowledgeBase) -> Resource:
    uri = f"{BASES}/{quote(base.name, safe='')}{_VERSIONS}"
    return Resource(uri=uri, name=f"versions of {base.name}", description=base.description, mime_type=_JSON)


def _base(base: KnowledgeBase) -> dict[str, JsonValue]:
    live = None if base.live_seq is None else f"{base.name}@{base.live_seq}"
    return {"name": base.name, "space": base.space, "description": base.description, "live": live}


def _version(base: KnowledgeBase, version: Version) -> JsonValue:
    return {
        "kb": f"{base.name}@{version.seq}",
        "state": version.state.value,
        "live": version.live,
        "tags": list(version.tags),
        "documents": version.documents,
        "chunks": version.chunks,
        "note": version.note,
        "published_at": None if version.published_at is None else version.published_at.isoformat(),
    }
