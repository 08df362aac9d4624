"""Ordering an ingest: one job that changes the draft."""

from collections.abc import Mapping, Sequence

from memoryd.access.service import require
from memoryd.jobs.model import Job, NewItem, NewJob
from memoryd.jobs.service import Jobs
from memoryd.knowledge.uploads import Uploads, Wish
from memoryd.memory.model import Idempotency
from retrieval.filters import JsonValue
from retrieval.scope import Action, Scope

INGEST = "ingest"
REMOVE: Mapping[str, JsonValue] = {"remove": True}


class Orders:
    """Makes jobs of what somebody wants ingested or taken out."""

    def __init__(self, uploads: Uploads, jobs: Jobs) -> None:
        self._uploads = uploads
        self._jobs = jobs

    async def order(
        self,
        scope: Scope,
        name: str,
        wishes: Sequence[Wish],
        removals: Sequence[str],
        *,
        publish: bool,
        note: str | None,
        once: Idempotency | None,
    ) -> Job:
        """Raises ``NotFound``, ``Forbidden``, ``InvalidRequest`` for an upload that is not there."""
        base = await self._uploads.writable(scope, name)
        if removals:
            require(scope, Action.DELETE)
        sources = await self._uploads.sources(scope, base, wishes)
        items = [NewItem(wish.document_id, source) for wish, source in zip(wishes, sources, strict=True)]
        items += [NewItem(document_id, REMOVE) for document_id in removals]
        payload: dict[str, JsonValue] = {"kb": name, "publish": publish, "note": note}
        job = NewJob(INGEST, payload, items, kb_id=base.kb_id, space=base.space)
        return await self._jobs.create(scope, job, once)
