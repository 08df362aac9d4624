"""The models of a process: loaded once, released when nothing needs them, and the right ones."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from ingestion.chunk import Chunk
from ingestion.chunk.model import Kind as ChunkKind
from memoryd.generations.catalogue import Catalogue
from memoryd.generations.embedders import Embedders
from memoryd.generations.model import Generation, State
from memoryd.generations.shelf import ModelShelf, Opened
from memoryd.generations.upkeep import kept_up
from memoryd.knowledge.batches import Batch, content_hash, prepared
from retrieval.analysis import Analyzer
from retrieval.errors import (
    BatchTooLarge,
    InferenceError,
    InferenceOverloaded,
    InferenceTimeout,
    InferenceUnavailable,
    ModelMismatch,
)
from retrieval.ports import Lane
from retrieval.scope import Scope
from retrieval.vectors import Vectors
from tests.generations.tiny import Shop, Tiny

A, B = Tiny("a", 8), Tiny("b", 12)


def _of(model: Tiny, number: int, **fields: object) -> Generation:
    card = model.card
    made = Generation(number, card.name, card.revision, card.dimension, card.query_prefix, card.passage_prefix)
    return replace(made, **fields)  # type: ignore[arg-type]


FIRST, SECOND = _of(A, 1), _of(B, 2, state=State.BUILDING)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_model_is_loaded_once_whoever_asks() -> None:
    shop = Shop(A, B)
    shelf = ModelShelf(A, shop)
    assert shelf.ready(FIRST) is A
    assert shelf.ready(SECOND) is None
    found = await asyncio.gather(*(shelf.of(SECOND) for _ in range(5)))
    assert found == [B] * 5
    assert await shelf.of(_of(B, 7)) is B, "of another generation of the same model"
    assert shop.loads == ["b"]
    await shelf.keep({("a", "1")})
    assert B.closed
    assert shelf.ready(SECOND) is None
    assert await shelf.of(SECOND) is B
    await shelf.close()
    assert B.closed
    assert shelf.ready(FIRST) is A, "the first is not ours to release"


async def test_who_asked_first_may_give_up() -> None:
    shelf = ModelShelf(A, Shop(A, B))
    first = asyncio.create_task(shelf.of(SECOND))
    await asyncio.sleep(0)
    second = asyncio.create_task(shelf.of(SECOND))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is B


async def test_a_model_that_cannot_be_had_is_tried_again_later() -> None:
    shop, clock = Shop(A, B), Clock()
    shop.out.add("b")
    shelf = ModelShelf(A, shop, now=clock)
    for _ in range(3):
        with pytest.raises(InferenceUnavailable, match="no b today"):
            await shelf.of(SECOND)
    assert shop.loads == ["b"]
    assert shelf.missing(SECOND)
    shop.out.clear()
    clock.now += 31
    assert not shelf.missing(SECOND)
    assert await shelf.of(SECOND) is B


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(30, "Read-only file system", "/cache/b"), "Read-only file system"),
        (MemoryError(), "MemoryError"),
        (RuntimeError("CUDA out of memory"), "RuntimeError"),
    ],
)
async def test_whatever_a_load_fails_of_writes_go_on_and_it_is_tried_again_later(error: Exception, why: str) -> None:
    shop, clock, tenant, loads = Shop(A, B), Clock(), uuid4(), 0

    async def load(name: str) -> Opened:
        nonlocal loads
        loads += 1
        if loads == 1:
            raise error
        return await shop(name)

    shelf = ModelShelf(A, load, now=clock)
    embedders = Embedders(Registry(FIRST, SECOND), shelf, now=clock)
    for _ in range(3):
        assert set(await embedders.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)) == {1}
        assert embedders.missing(SECOND), "so that the write goes on without, and says so"
    assert loads == 1
    with pytest.raises(InferenceUnavailable, match=f"^b cannot be loaded here: {why}$"):
        await shelf.of(SECOND)
    clock.now += 31
    assert set(await embedders.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)) == {1, 2}


@pytest.mark.parametrize("other", [{"revision": "2"}, {"dimension": 13}, {"query_prefix": ""}, {"passage_prefix": "passage: "}])
async def test_another_revision_is_another_model(other: dict[str, object]) -> None:
    shelf = ModelShelf(A, Shop(A, B))
    with pytest.raises(InferenceUnavailable, match="was made with"):
        await shelf.of(_of(B, 2, **other))
    assert shelf.missing(_of(B, 2, **other))


class Registry:
    def __init__(self, *generations: Generation) -> None:
        self.generations = generations
        self.reads = 0

    async def catalogue(self, tenant_id: object) -> Catalogue:
        self.reads += 1
        return Catalogue(self.generations)

    async def in_use(self) -> list[Generation]:
        return list(self.generations)


async def test_a_process_follows_the_generations() -> None:
    registry, shelf = Registry(FIRST, SECOND), ModelShelf(A, Shop(A, B))
    async with kept_up(registry, shelf, interval_s=0.01):
        await _until(lambda: shelf.ready(SECOND) is B)
        registry.generations = (FIRST,)
        await _until(lambda: shelf.ready(SECOND) is None)
    assert B.closed


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_writes_are_embedded_for_every_generation_that_can_be() -> None:
    shop, clock, tenant = Shop(A, B), Clock(), uuid4()
    registry = Registry(FIRST, SECOND)
    embedders = Embedders(registry, ModelShelf(A, shop), now=clock)
    made = await embedders.passages(["x", "y"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)
    assert {number: vectors.shape for number, vectors in made.items()} == {1: (2, 8), 2: (2, 12)}
    shop.out.add("b")
    without = Embedders(registry, ModelShelf(A, shop), now=clock)
    assert set(await without.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)) == {1}
    assert without.missing(SECOND)
    registry.generations = (replace(FIRST, state=State.DRAINING), replace(SECOND, state=State.LIVE))
    without.forget()
    with pytest.raises(InferenceUnavailable):
        await without.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)


async def test_a_write_does_not_wait_for_a_model_that_takes_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memoryd.generations.shelf.PATIENCE_S", 0.05)
    shop, fetched, tenant = Shop(A, B), asyncio.Event(), uuid4()

    async def fetch(name: str) -> Opened:
        await fetched.wait()
        return await shop(name)

    registry, shelf = Registry(FIRST, SECOND), ModelShelf(A, fetch)
    embedders = Embedders(registry, shelf)
    assert set(await embedders.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)) == {1}
    assert embedders.missing(SECOND), "so that the write goes on without, and says so"
    fetched.set()
    assert await shelf.of(SECOND) is B
    assert set(await embedders.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)) == {1, 2}
    await shelf.close()


@pytest.mark.parametrize(
    "refusal", [InferenceUnavailable, InferenceOverloaded, InferenceTimeout, BatchTooLarge, ModelMismatch, InferenceError]
)
async def test_a_write_goes_on_without_a_model_that_does_not_embed(
    monkeypatch: pytest.MonkeyPatch, refusal: type[InferenceError]
) -> None:
    """A server of the model that is away, say, or that has another one by now."""
    registry, clock, tenant = Registry(FIRST, SECOND), Clock(), uuid4()
    embedders = Embedders(registry, ModelShelf(A, Shop(A, B), now=clock), now=clock)

    async def away(texts: list[str], **_named: object) -> Vectors:
        raise refusal("not now")

    with monkeypatch.context() as patch:
        patch.setattr(B, "embed_passages", away)
        assert set(await embedders.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)) == {1}
        assert embedders.missing(SECOND)
        registry.generations = (replace(FIRST, state=State.DRAINING), replace(SECOND, state=State.LIVE))
        embedders.forget()
        with pytest.raises(refusal, match="not now"):
            await embedders.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)
    assert set(await embedders.passages(["x"], tenant_id=tenant, kb_id=None, lane=Lane.BULK)) == {1, 2}
    clock.now += 31
    assert not embedders.missing(SECOND)


@pytest.mark.parametrize("failing", ["loading", "embedding"])
async def test_a_write_goes_on_without_however_long_the_others_take(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """The serving model may take minutes in which another, which failed at once, would be worth another attempt."""
    shop, clock, scope = Shop(A, B), Clock(), Scope(uuid4(), "test", frozenset())
    embedders = Embedders(Registry(FIRST, SECOND), ModelShelf(A, shop, now=clock), now=clock)

    async def away(texts: list[str], **_named: object) -> Vectors:
        raise InferenceUnavailable("not now")

    async def slow(texts: list[str], **_named: object) -> Vectors:
        await asyncio.sleep(0.01)
        clock.now += 40
        return A.vectors(texts)

    async def memory() -> set[int]:
        return set(await embedders.passages(["x"], tenant_id=scope.tenant_id, kb_id=None, lane=Lane.BULK))

    async def chunk() -> set[int]:
        span = Chunk(0, 0, "x", "", "x", ChunkKind.PROSE, 0, 1, None, None, 1)
        batch = Batch([], [span], [content_hash(span)], [])
        ready = await prepared(batch, {}, [FIRST, SECOND], scope, uuid4(), embedders, Analyzer())
        return set(ready.ready[0].vectors)

    monkeypatch.setattr(A, "embed_passages", slow)
    if failing == "embedding":
        monkeypatch.setattr(B, "embed_passages", away)
    else:
        shop.out.add("b")
    for write in (memory, chunk, memory):
        assert await write() == {1}
        assert embedders.missing(SECOND), "so that the write goes on without, and says so"
    assert len(shop.loads) == (1 if failing == "embedding" else 3), "and it is tried again each time"
    clock.now += 31
    assert not embedders.missing(SECOND)


async def test_a_catalogue_is_read_once_a_second() -> None:
    registry, clock, tenant = Registry(FIRST), Clock(), uuid4()
    embedders = Embedders(registry, ModelShelf(A, Shop(A)), now=clock)
    for _ in range(3):
        await embedders.catalogue(tenant)
    assert registry.reads == 1
    clock.now += 1.1
    await embedders.catalogue(tenant)
    assert registry.reads == 2
    embedders.forget()
    await embedders.catalogue(tenant)
    assert registry.reads == 3
