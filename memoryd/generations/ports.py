"""What generations need of stores and models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from memoryd.generations.catalogue import Catalogue
from memoryd.generations.model import Actor, Generation, ItemKind, Mark, NewGeneration, Registered, State, Step
from memoryd.memory.model import Idempotency
from retrieval.filters import JsonValue
from retrieval.ports import Embedder, Lane
from retrieval.vectors import Vectors

Made = TypeVar("Made")

Missing = Callable[[Generation], bool]
"""True for a generation that this process cannot embed for at present."""


class Catalogues(Protocol):
    """Which generations there are."""

    async def catalogue(self, tenant_id: UUID) -> Catalogue:
        """Those over a tenant's data."""

    async def in_use(self) -> list[Generation]:
        """Every generation of the installation whose model is needed somewhere."""


class WriteEmbedders(Protocol):
    """What writers embed with (:class:`memoryd.generations.embedders.Embedders`). Raises ``InferenceError``."""

    async def catalogue(self, tenant_id: UUID) -> Catalogue:
        """The generations over a tenant's data, as they were at most a second ago."""

    async def passages(self, texts: Sequence[str], *, tenant_id: UUID, kb_id: UUID | None, lane: Lane) -> dict[int, Vectors]:
        """Vectors for every generation that a write has to reach, by number; without those whose model cannot be had."""

    async def embed(
        self, generation: Generation, texts: Sequence[str], *, tenant_id: UUID, lane: Lane, needed: bool
    ) -> Vectors | None:
        """Vectors for one generation; ``None`` when its model cannot be had and it is not ``needed``."""

    def made(self, generations: Sequence[Generation], found: Sequence[Made | None]) -> dict[int, Made]:
        """What :meth:`embed` gave for each generation, by number, when all is embedded that is to be stored together."""

    def forget(self) -> None:
        """Read the catalogues again when they are asked for next."""


class Models(Protocol):
    """The models of this process."""

    def ready(self, generation: Generation) -> Embedder | None:
        """The model that made a generation, if it is loaded."""

    async def of(self, generation: Generation) -> Embedder:
        """The same, loaded if need be. Raises ``InferenceUnavailable`` when this process cannot have it."""

    def missing(self, generation: Generation) -> bool:
        """True when it could not be loaded just now."""


class Registry(Protocol):
    """The generations themselves, and how they change. ``actor`` sees its own tenant's, the operator all."""

    async def page(self, actor: Actor, *, after: int, limit: int) -> list[Registered]:
        """By number."""

    async def get(self, actor: Actor, number: int) -> Registered:
        """Raises ``NotFound``."""

    async def earlier(self, actor: Actor, idempotency: Idempotency) -> Registered | None:
        """What the first of repeated requests to :meth:`add` made. Raises ``IdempotencyKeyReused``."""

    async def add(self, actor: Actor, new: NewGeneration, *, idempotency: Idempotency | None) -> Registered:
        """Make one, with what its vectors are stored in; the one that the first of repeated requests made.

        Raises ``Conflict``, ``NotFound`` (the knowledge base).
        """

    async def keep_report(self, actor: Actor, number: int, report: Report, *, answers: JsonValue = None) -> Registered:
        """What a verification found, settled with what is kept (:func:`memoryd.generations.owed.settled`).

        Raises ``NotFound``.
        """

    async def owe_report(self, actor: Actor, number: int, note: Report) -> Registered:
        """The worker is to measure again (:func:`memoryd.generations.owed.owing`). Raises ``NotFound``."""

    async def set_paused(self, actor: Actor, number: int, *, paused: bool) -> Registered:
        """Raises ``NotFound``, ``WrongState``."""

    async def cut_over(self, actor: Actor, number: int, *, before: int | None, forced: str | None) -> Registered:
        """One UPDATE: ``number`` live, and ``before`` (live until now; ``None``: nothing) draining.

        Raises ``Conflict`` when another was live, or when vectors are missing since its verification.
        """

    async def roll_back(self, actor: Actor, number: int, *, forced: str | None) -> Registered:
        """One UPDATE: what it replaced is live again, or the scope around it serves where that is retired, and ``number`` drains.

        Nothing is done where it is so already. Raises as :meth:`cut_over`, and ``WrongState`` when another is live.
        """

    async def retire(self, actor: Actor, number: int) -> Registered:
        """Nobody writes to it any more; its vectors go a few minutes later. Raises ``WrongState`` for what is live."""


class Work(Protocol):
    """What the worker needs of the registry: one worker at a time is at a generation, by a lease."""

    async def due(self) -> list[Registered]:
        """Those with something to do (to be built, reconciled, verified, purged) that no worker is at."""

    async def lease(self, number: int, worker: UUID) -> Registered | None:
        """Take or renew the lease; the generation as it stands, ``None`` while another has it or when nothing is due any more."""

    async def release(self, number: int, worker: UUID, failure: str | None) -> None:
        """Give the lease back, and say what went wrong."""

    async def began(self, number: int, total: int) -> None:
        """There are so many items."""

    async def advanced(self, number: int, worker: UUID, mark: Mark, step: Step) -> bool:
        """Note how far the backfill is and renew the lease; false when it is over: paused, retired, or another's."""

    async def caught_up(self, number: int, worker: UUID, step: Step) -> bool:
        """The same behind the backfill."""

    async def moved(self, number: int, before: State, after: State) -> bool:
        """Another state; false when it is not in ``before``, or lacks vectors."""

    async def measure(self, number: int) -> None:
        """Its vectors are fewer than its report says, if there is one: it does not pass before it was verified again."""


class Purging(Protocol):
    """How a retired generation goes."""

    async def gone(self, number: int) -> None:
        """Its tenant was deleted: retire it."""

    async def erase(self, number: int, tenant_id: UUID) -> int:
        """A batch of a tenant's vectors; how many went."""

    async def purged(self, number: int) -> None:
        """The rest, at once."""


@dataclass(frozen=True, slots=True)
class Unembedded:
    """An item without a vector, as it is embedded."""

    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class Sampled:
    """An item with its stored vector."""

    tenant_id: UUID
    kind: ItemKind
    pid: int
    text: str
    vector: Vectors


@dataclass(frozen=True, slots=True)
class Counted:
    """A tenant's items, and what a generation has of them. Digests are over the numbers of items with whether they are live, or
    in which versions."""

    tenant_id: UUID
    items: int
    vectors: int
    items_digest: str
    vectors_digest: str


class Items(Protocol):
    """The items of a generation's scope and their vectors, tenant by tenant."""

    async def tenants(self, generation: Generation, after: UUID | None, limit: int) -> list[UUID]:
        """In order, from behind ``after``."""

    async def count(self, generation: Generation, tenant_id: UUID) -> int:
        """How many items a tenant has."""

    async def page(self, generation: Generation, mark: Mark, limit: int) -> tuple[list[int], list[Unembedded]]:
        """The numbers of the next items behind a mark, and those of them without a vector."""

    async def store(self, generation: Generation, tenant_id: UUID, kind: ItemKind, pids: Sequence[int], vectors: Vectors) -> int:
        """Insert, and only that: what is gone, or has a vector meanwhile, is left alone; how many went in."""

    async def gap(self, generation: Generation, tenant_id: UUID) -> int:
        """What writers could not embed for, as a number to :meth:`close_gap` with; 0: nothing."""

    async def close_gap(self, generation: Generation, tenant_id: UUID, gap: int) -> bool:
        """Everything up to ``gap`` is embedded; false when there is more meanwhile."""


class Evidence(Protocol):
    """What a verification looks at."""

    async def counted(self, generation: Generation, tenant_id: UUID) -> Counted:
        """Items and vectors."""

    async def lacking(self, generation: Generation, tenant_id: UUID, limit: int) -> list[str]:
        """Some items without a vector, in words."""

    async def sample(self, generation: Generation, tenant_id: UUID, limit: int) -> list[Sampled]:
        """Some live items with their vectors."""

    async def nearest(
        self, generation: Generation, tenant_id: UUID, kind: ItemKind, vector: Vectors, limit: int, *, kb_id: UUID | None
    ) -> list[int]:
        """The items that an exact search finds, best first; with ``kb_id`` chunks of this knowledge base."""

    async def named(self, generation: Generation, tenant_id: UUID, kind: ItemKind, names: Sequence[str]) -> dict[str, str]:
        """Memories (named by id or external id) or documents (by id) that reads can find: what :meth:`owners` calls them, with
        the name."""

    async def owners(self, tenant_id: UUID, kind: ItemKind, pids: Sequence[int]) -> dict[int, str]:
        """The memory or the document of each passage or chunk."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question with what answers it."""

    query: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to verify with beside the samples: a tenant's questions with their answers."""

    tenant_id: UUID
    labelled: Sequence[Labelled]


Report = dict[str, JsonValue]
