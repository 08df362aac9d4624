"""The generations over one tenant's data, and which of them serves: pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from memoryd.errors import StoreUnavailable
from memoryd.generations.model import Generation, ScopeKind, State

_SMALLEST_FIRST = (ScopeKind.KNOWLEDGE_BASE, ScopeKind.TENANT, ScopeKind.INSTALLATION)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every unretired generation that has vectors of a tenant, as one statement read them."""

    generations: tuple[Generation, ...]

    def covering(self, kb_id: UUID | None) -> tuple[Generation, ...]:
        """Those that a write to this knowledge base, or to memories (``None``), has to reach."""
        return tuple(one for one in self.generations if one.covers(kb_id))

    def serving(self, kb_id: UUID | None) -> Generation:
        """The one that reads of this knowledge base, or of memories, are answered from. Raises ``StoreUnavailable``."""
        for found in self.candidates(kb_id):
            return found
        raise StoreUnavailable("the database has no live embedding generation: run `memoryd migrate`")

    def candidates(self, kb_id: UUID | None) -> Iterator[Generation]:
        """The one that serves, then those that can stand in for it where its model is not loaded yet, best first.

        Of the scopes around the data, the smallest first: its live generation, then the one which that replaced. Writers
        reach all of them, so that each has the same items.
        """
        for scope in _SMALLEST_FIRST:
            live = [one for one in self.covering(kb_id) if one.scope is scope and one.state is State.LIVE]
            yield from live
            before = {one.replaced for one in live}
            yield from (one for one in self.generations if one.number in before and one.state is State.DRAINING)
