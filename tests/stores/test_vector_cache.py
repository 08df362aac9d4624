"""The cache of questions' vectors on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID, uuid4

import numpy as np
import pytest

from memoryd.stores.redis import Redis
from memoryd.stores.redis_erasure import RedisEraser
from memoryd.stores.vector_cache import RedisVectorCache
from retrieval.inference.cached import CachedEmbedder, VectorCache, Writes, cache_key
from retrieval.ports import Embedder, Lane, ModelCard
from retrieval.vectors import Vectors
from tests.stack import Stack

# A machine under load takes its time.
_PATIENCE_S = 30.0
CARD = ModelCard("model", "1", 2, 512, query_prefix="q:")


class Counting:
    """Embeds a text as its length; ``asked`` are the texts."""

    def __init__(self, card: ModelCard = CARD) -> None:
        self.card = card
        self.asked: list[str] = []

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        self.asked += texts
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        return await self.embed_queries(texts)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    opened = Redis(stack.redis_url, timeout_s=_PATIENCE_S)
    yield opened
    await opened.close()


@pytest.fixture
def cache(redis: Redis) -> RedisVectorCache:
    return RedisVectorCache(redis, entries=3, ttl_s=60, clock=Clock(), patience_s=_PATIENCE_S)


async def test_what_was_put_is_got_by_its_owner_alone(cache: RedisVectorCache) -> None:
    port: VectorCache = cache
    one, other = uuid4(), uuid4()
    await port.put(one, {"a": b"\x00\xff1", "b": b"2"})
    assert await port.get(one, ["b", "x", "a"]) == [b"2", None, b"\x00\xff1"]
    assert await port.get(other, ["a", "b"]) == [None, None]


async def test_a_tenant_has_a_bounded_number_and_keeps_what_it_uses(cache: RedisVectorCache, redis: Redis) -> None:
    owner = uuid4()
    for name in "abc":
        await cache.put(owner, {name: name.encode()})
    await cache.get(owner, ["a"])
    await cache.put(owner, {"d": b"d"})
    assert await cache.get(owner, list("abcd")) == [b"a", None, b"c", b"d"]
    await cache.put(owner, {str(n): b"x" for n in range(10)})
    assert await cache.get(owner, ["0", "2", "3", "a"]) == [b"x", b"x", None, None]
    keys = await redis.command("KEYS", f"t:{{{owner}}}:*")
    assert isinstance(keys, list)
    assert len(keys) == 4, "three vectors and their index"
    for key in keys:
        assert isinstance(key, bytes)
        ttl = await redis.command("TTL", key)
        assert isinstance(ttl, int)
        assert 0 < ttl <= 60


async def test_erasing_a_tenant_erases_its_vectors(cache: RedisVectorCache, redis: Redis) -> None:
    owner, other = uuid4(), uuid4()
    for one in (owner, other):
        await cache.put(one, {"a": b"a"})
    await RedisEraser(redis).erase(owner)
    assert await cache.get(owner, ["a"]) == [None]
    assert await redis.command("KEYS", f"t:{{{owner}}}:*") == []
    assert await cache.get(other, ["a"]) == [b"a"]


async def test_without_redis_there_is_nothing_and_nobody_waits_for_it_twice() -> None:
    gone = Redis("redis://127.0.0.1:1/0", timeout_s=0.5)
    cache = RedisVectorCache(gone, entries=3, ttl_s=60)
    writes = Writes(cache)
    embedder = CachedEmbedder(Counting(), cache, writes)
    try:
        for _ in range(3):
            vectors = await embedder.embed_queries(["four"], owner=uuid4())
            assert vectors.tolist() == [[4.0, 1.0]]
    finally:
        await writes.close()
        await gone.close()


async def test_a_redis_that_hangs_is_left_alone() -> None:
    connected = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    hanging = Redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", timeout_s=30.0)
    cache = RedisVectorCache(hanging, entries=3, ttl_s=60)
    try:
        async with asyncio.timeout(10):
            assert await cache.get(uuid4(), ["a"]) == [None]
        seen = connected
        for _ in range(50):
            assert await cache.get(uuid4(), ["a"]) == [None]
        assert connected == seen
    finally:
        await hanging.close()
        server.close()
        await server.wait_closed()


async def test_a_question_is_embedded_once(cache: RedisVectorCache) -> None:
    inner = Counting()
    writes = Writes(cache)
    embedder = CachedEmbedder(inner, cache, writes)
    port: Embedder = embedder
    owner = uuid4()
    first = await port.embed_queries(["one", "three"], owner=owner)
    await writes.close()  # the write has ended
    second = await port.embed_queries(["three", "two!", "one"], owner=owner)
    assert inner.asked == ["one", "three", "two!"]
    assert second.tolist() == [first[1].tolist(), [4.0, 1.0], first[0].tolist()]
    assert second.dtype == np.float32
    await writes.close()
    await port.embed_queries(["one"], owner=uuid4())
    assert inner.asked[-1] == "one", "another tenant"
    await port.embed_queries(["one"])
    await port.embed_passages(["one"], owner=owner)
    assert inner.asked[-2:] == ["one", "one"], "work of nobody, and passages"


async def test_another_model_is_another_vector(cache: RedisVectorCache) -> None:
    owner = uuid4()
    for card in (CARD, ModelCard("model", "2", 2, 512, query_prefix="q:"), ModelCard("model", "1", 2, 512)):
        inner = Counting(card)
        writes = Writes(cache)
        embedder = CachedEmbedder(inner, cache, writes)
        await embedder.embed_queries(["one"], owner=owner)
        await writes.close()
        assert inner.asked == ["one"]


def test_keys_cannot_be_shifted_from_one_part_into_the_next() -> None:
    assert cache_key(ModelCard("ab", "c", 2, 512), "x") != cache_key(ModelCard("a", "bc", 2, 512), "x")
    assert cache_key(ModelCard("a", "b", 2, 512, query_prefix="q"), "x") != cache_key(ModelCard("a", "b", 2, 512), "qx")


async def test_what_is_no_vector_of_the_model_is_not_used() -> None:
    class Broken:
        async def get(self, owner: UUID, keys: Sequence[str]) -> Sequence[bytes | None]:
            return [b"\x00" * 4] * len(keys)

        async def put(self, owner: UUID, found: Mapping[str, bytes]) -> None:
            pass

    writes = Writes(Broken())
    embedder = CachedEmbedder(Counting(), Broken(), writes)
    assert (await embedder.embed_queries(["four"], owner=uuid4())).tolist() == [[4.0, 1.0]]
    await writes.close()
