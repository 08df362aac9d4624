"""The use cases of knowledge bases themselves: make, list, change, delete."""

from uuid import UUID

from ingestion.chunk import Chunking
from memoryd.access.service import require
from memoryd.attempts import attempted
from memoryd.errors import Forbidden
from memoryd.ids import uuid7
from memoryd.knowledge.model import BaseChange, KnowledgeBase, check_chunking
from memoryd.knowledge.ports import Bases, Originals
from memoryd.memory.ports import Clock
from retrieval.scope import Action, Scope


class KnowledgeBases:
    """Knowledge bases of one tenant. Those of spaces that a key is not for are as if they were not there."""

    def __init__(self, bases: Bases, originals: Originals | None, clock: Clock) -> None:
        self._bases = bases
        self._originals = originals
        self._clock = clock

    async def create(
        self, scope: Scope, *, name: str, space: str, description: str | None, chunking: Chunking, retain: int | None
    ) -> KnowledgeBase:
        """Raises ``AlreadyExists``, ``Forbidden`` for a space that the key is not for, ``InvalidRequest``."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is all that is known of it
        if not scope.may_use(space):
            raise Forbidden("this key is confined to other spaces")
        check_chunking(chunking)
        now = self._clock.now()
        base = KnowledgeBase(uuid7(), name, space, description, chunking, retain, None, 0, now, now)
        await self._bases.create(scope, base)
        return base

    async def get(self, scope: Scope, name: str) -> KnowledgeBase:
        """Raises ``NotFound``."""
        require(scope, Action.READ)
        return await self._bases.get(scope, name)

    async def page(self, scope: Scope, *, after: str | None, limit: int) -> list[KnowledgeBase]:
        """By name."""
        require(scope, Action.READ)
        return await self._bases.page(scope, after=after, limit=limit)

    async def update(self, scope: Scope, name: str, change: BaseChange) -> KnowledgeBase:
        """Raises ``NotFound``, ``InvalidRequest``."""
        require(scope, Action.WRITE)
        require(scope, Action.READ)  # the answer is all that is known of it
        return await self._bases.update(scope, name, change, self._clock.now())

    async def delete(self, scope: Scope, name: str) -> None:
        """Everything of it, in every version, with the originals. Raises ``NotFound``."""
        require(scope, Action.DELETE)
        await self._delete(scope, await self._bases.to_delete(scope, name))

    async def finish_deletions(self, scope: Scope, *, quiet_s: float) -> None:
        """Go on with those that nobody has gone on with for so long. One that fails is logged, and the others have their turn."""
        for kb_id in await self._bases.interrupted(scope, quiet_s=quiet_s):
            await attempted(f"deletion of knowledge base {kb_id}", self._delete(scope, kb_id))

    async def _delete(self, scope: Scope, kb_id: UUID) -> None:
        async def clear() -> None:
            if self._originals is not None:
                await self._originals.clear(scope, kb_id)

        await self._bases.delete(scope, kb_id, emptied=clear)
        # What was uploaded in the meantime.
        await clear()
