"""A recall over scripted ports: what is late, what fails, and what a boost weighs."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from retrieval.candidates import Fusion
from retrieval.deadline import NO_DEADLINE, Deadline
from retrieval.errors import InferenceUnavailable
from retrieval.filters import Filters
from retrieval.fusion import RRF_K
from retrieval.ports import ArmHit, Following, Item, Lane, ModelCard, Query, Turn
from retrieval.rerank import RerankPlan
from retrieval.scope import Action, Scope
from retrieval.search import TEMPORAL_WEIGHT, Arm, Searcher, SearchRequest
from retrieval.sources import OneSpace
from retrieval.temporal import Interval
from retrieval.vectors import Vectors

SCOPE = Scope(UUID(int=1), "tests", frozenset(Action))
MAY = datetime(2023, 5, 8, tzinfo=UTC)


def item(number: int, *, event_time: datetime | None = None) -> Item:
    text = f"text {number}"
    return Item(
        memory_id=UUID(int=number),
        revision=1,
        pid=number,
        span=(0, len(text)),
        space_id=UUID(int=9),
        external_id=None,
        kind="episodic",
        text=text,
        speaker=None,
        user_id=None,
        agent_id=None,
        session_id=None,
        event_time=event_time,
        occurred_at=MAY,
        seq=number,
        recorded_at=MAY,
        valid_from=None,
        valid_to=None,
        source_type="test",
        source_uri=None,
        confidence=1.0,
        topics=(),
        metadata={},
        superseded_by=None,
    )


@dataclass
class World:
    """Every port at once. ``late`` names what never answers, ``broken`` what raises."""

    dense: Sequence[int] = (1, 2, 3)
    lexical: Sequence[int] = (2, 1, 4)
    items: Mapping[int, Item] = field(default_factory=lambda: {n: item(n) for n in range(1, 9)})
    late: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()

    async def meet(self, name: str) -> None:
        if name in self.late:
            await asyncio.sleep(60)
        if name in self.broken:
            raise InferenceUnavailable(f"{name} is gone")

    def searcher(self) -> Searcher:
        index = _Index(self)
        return Searcher(
            vectors=OneSpace(_Models(self), _Dense(self)),
            lexical=_Lexical(self),
            temporal=index,
            items=index,
            reranker=_Models(self),
        )


@dataclass
class _Models:
    world: World
    card: ModelCard = field(default_factory=lambda: ModelCard("m", "1", 2, 512))

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        assert owner == SCOPE.tenant_id
        await self.world.meet("embed")
        return np.ones((len(texts), 2), dtype=np.float32)

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        raise NotImplementedError

    async def score(self, query: str, passages: Sequence[str], *, owner: UUID | None = None) -> Sequence[float]:
        assert owner == SCOPE.tenant_id
        await self.world.meet("rerank")
        return [0.9 if "text 3" in passage else 0.1 for passage in passages]

    def estimate_ms(self, query: str, passages: Sequence[str]) -> float:
        return 1.0


@dataclass
class _Dense:
    world: World

    async def search(self, scope: Scope, query: Query, vector: Vectors, *, limit: int) -> list[ArmHit]:
        await self.world.meet("dense")
        return [ArmHit(UUID(int=n), n, 1 - rank / 10) for rank, n in enumerate(self.world.dense)]


@dataclass
class _Lexical:
    world: World

    async def search(self, scope: Scope, query: Query, text: str, *, limit: int) -> list[ArmHit]:
        await self.world.meet("lexical")
        return [ArmHit(UUID(int=n), n, 9 - rank) for rank, n in enumerate(self.world.lexical)]


@dataclass
class _Index:
    world: World

    async def search(self, scope: Scope, query: Query, interval: Interval, *, limit: int) -> list[ArmHit]:
        inside = [i for i in self.world.items.values() if i.event_time and interval.start <= i.event_time < interval.end]
        return [ArmHit(i.memory_id, i.pid, 0.0) for i in inside]

    async def read(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Item]:
        await self.world.meet("read")
        return {pid: self.world.items[pid] for pid in pids}

    async def following(self, scope: Scope, query: Query, pids: Sequence[int], *, turns: int) -> list[Following]:
        await self.world.meet("following")
        return []

    async def preceding(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Turn]:
        await self.world.meet("preceding")
        return {}


def request(text: str = "what?", *, deadline: Deadline = NO_DEADLINE) -> SearchRequest:
    return SearchRequest(text, Query((UUID(int=9),), Filters()), 10, deadline=deadline)


@pytest.mark.parametrize("arm", ["dense", "lexical"])
async def test_a_late_arm_leaves_time_to_read_what_the_other_found(arm: str) -> None:
    began = time.monotonic()
    result = await World(late=frozenset({arm})).searcher().search(SCOPE, request(deadline=Deadline.after(1_500)))
    assert time.monotonic() - began < 1.5
    assert result.degraded == [arm]
    assert result.answered
    assert len(result.hits) == 3


async def test_no_arm_is_no_answer() -> None:
    result = await World(late=frozenset({"dense", "lexical"})).searcher().search(SCOPE, request(deadline=Deadline.after(50)))
    assert (result.answered, result.failure, set(result.degraded)) == (False, None, {"dense", "lexical"})
    assert result.late
    failed = await World(broken=frozenset({"embed"})).searcher().search(SCOPE, replace(request(), arms=(Arm.DENSE,)))
    assert (failed.answered, failed.late) == (False, False)
    assert isinstance(failed.failure, InferenceUnavailable)


async def test_without_the_neighbours_the_lexical_hits_remain() -> None:
    result = await World(dense=(), broken=frozenset({"following"})).searcher().search(SCOPE, request())
    assert result.degraded == ["neighbours"]
    assert [hit.item.pid for hit in result.hits] == [2, 1, 4]


@pytest.mark.parametrize("stage", ["rerank", "preceding"])
async def test_a_late_reranker_keeps_the_fused_order_within_the_deadline(stage: str) -> None:
    began = time.monotonic()
    searcher = World(late=frozenset({stage})).searcher()
    plain = await World().searcher().search(SCOPE, request())
    asked = replace(request(deadline=Deadline.after(1_000)), rerank=RerankPlan(10, 60_000))
    result = await searcher.search(SCOPE, asked)
    assert time.monotonic() - began < 1.5
    assert result.degraded == ["rerank"]
    assert [hit.item.pid for hit in result.hits] == [hit.item.pid for hit in plain.hits]


@pytest.mark.parametrize("fusion", list(Fusion))
async def test_a_time_weighs_the_same_in_every_fusion(fusion: Fusion) -> None:
    """Half of the best possible score: what both arms put first stays before what is last in one and lies in May."""
    items = {n: item(n) for n in range(1, 9)} | {4: item(4, event_time=MAY)}
    world = World(dense=(1, 2, 3, 4), lexical=(1, 2, 3), items=items)
    result = await world.searcher().search(SCOPE, replace(request("what was in May 2023?"), fusion=fusion))
    unit = 1.0 if fusion is Fusion.CONVEX else 2 / (RRF_K + 1)
    boosts = {hit.item.pid: hit.explanation.temporal for hit in result.hits}
    assert boosts[4] == pytest.approx(TEMPORAL_WEIGHT * unit)
    assert result.hits[0].item.pid == 1
    reranked = await world.searcher().search(
        SCOPE, replace(request("what was in May 2023?"), fusion=fusion, rerank=RerankPlan(10, 1000))
    )
    assert all(0 <= hit.score <= 1 + TEMPORAL_WEIGHT for hit in reranked.hits)
    assert max(hit.score for hit in reranked.hits) > 0.3, "the fused scores count beside the reranker's, in one unit"


async def test_the_temporal_arm_alone_says_that_it_understood_no_time() -> None:
    result = await World().searcher().search(SCOPE, replace(request("what?"), arms=(Arm.TEMPORAL,)))
    assert (result.hits, result.degraded, result.answered) == ([], ["temporal"], True)


async def test_an_embedding_that_was_begun_is_used_and_not_made_again() -> None:
    searcher = World().searcher()
    embedding = searcher.embed(SCOPE, "what?")
    await embedding
    result = await searcher.search(SCOPE, replace(request(), embedding=embedding))
    assert result.degraded == []
    assert result.timings_ms["embed"] == embedding.result().milliseconds


def test_deadlines() -> None:
    assert math.isinf(NO_DEADLINE.left_ms)
    assert NO_DEADLINE.stage_s() is None
    assert NO_DEADLINE.stage_s(500) == 0.5
    soon = Deadline.after(100)
    assert 0 < soon.left_ms <= 100
    assert (soon.stage_s(5000, share=0.5) or 1) <= 0.05
    assert Deadline.after(-5).left_ms == 0
