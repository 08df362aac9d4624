"""The contract of object storage, on a local folder and on a server that speaks S3."""

import asyncio
import random
import socket
from collections.abc import Awaitable
from pathlib import Path
from uuid import uuid4

import pytest

from memoryd.errors import InvalidRequest, StoreUnavailable
from memoryd.stores.objects import ObstoreObjects
from tests.s3 import S3, Bucket

LARGE = random.Random(7).randbytes(12 * 2**20 + 1)
_PATIENCE_S = 60


def opened(where: str, timeout_s: float = 30) -> ObstoreObjects:
    return ObstoreObjects(where, timeout_s=timeout_s)


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be, of either kind."""
    if request.param == "folder":
        return str(tmp_path / "store")
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.url


@pytest.fixture
def objects(root: str) -> ObstoreObjects:
    return opened(f"{root}/some/prefix")


async def collected(objects: ObstoreObjects, key: str) -> list[bytes]:
    found = await objects.pieces(key)
    assert found is not None
    return [piece async for piece in found]


async def test_what_is_put_is_got_until_it_is_deleted(objects: ObstoreObjects) -> None:
    await objects.put("a/one.mds", b"first")
    await objects.put("a/one.mds", b"second\0\xff")
    await objects.put("a/two", b"")
    assert (await objects.get("a/one.mds"), await objects.get("a/two")) == (b"second\0\xff", b"")
    assert await objects.exists("a/one.mds")
    await objects.delete(["a/one.mds", "a/never", "a/two"])
    await objects.delete([])
    assert (await objects.get("a/one.mds"), await objects.get("a/two")) == (None, None)
    assert not await objects.exists("a/one.mds")


async def test_what_is_not_there_is_missing_and_no_trouble(objects: ObstoreObjects, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert await objects.get("a/none") is None
    assert await objects.pieces("a/none") is None
    assert not await objects.get_file("a/none", target)
    assert not target.exists()
    assert not await objects.exists("a/none")
    await objects.put("a/b/c", b"1")
    assert (await objects.get("a/b"), await objects.exists("a/b")) == (None, False)  # a prefix is no object
    await objects.clear("nothing/here/")
    await objects.erase(uuid4())


async def test_a_large_object_is_whole_as_bytes_as_file_and_in_pieces(objects: ObstoreObjects, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(LARGE)
    target.write_bytes(b"what was there")
    await objects.put_file("kb/file", source)
    await objects.put("kb/bytes", LARGE)
    for key in ("kb/file", "kb/bytes"):
        assert await objects.get(key) == LARGE
        assert await objects.get_file(key, target)
        assert target.read_bytes() == LARGE
        pieces = await collected(objects, key)
        assert b"".join(pieces) == LARGE
        assert max(map(len, pieces)) < len(LARGE) / 2
    source.write_bytes(b"")
    await objects.put_file("kb/file", source)
    assert await objects.get("kb/file") == b""
    assert await objects.get_file("kb/file", target)
    assert target.read_bytes() == b""
    assert b"".join(await collected(objects, "kb/file")) == b""


async def test_clear_and_erase_take_what_is_below_and_nothing_beside(
    root: str, objects: ObstoreObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # pages of a list: they change while it is walked
    tenant, other = uuid4(), uuid4()
    beside = opened(f"{root}/some/prefix-and-more")
    await beside.put(f"{tenant}/kb/1", b"1")
    own = [f"{tenant}/sessions/x/{number}" for number in range(25)]
    kept = [f"{tenant}/sessions/xy/1", f"{tenant}/sessions/x.mds", f"{other}/sessions/x/1", f"{tenant}2/kb/1"]
    for key in own + kept:
        await objects.put(key, b"1")
    await objects.clear(f"{tenant}/sessions/x/")
    assert [key for key in own + kept if await objects.exists(key)] == kept
    await objects.erase(tenant)
    assert [key for key in kept if await objects.exists(key)] == kept[2:]
    assert await beside.exists(f"{tenant}/kb/1")


async def test_several_clear_the_same_at_once(objects: ObstoreObjects) -> None:
    for round_ in range(5):
        keys = [f"t/{round_}/{number}" for number in range(30)]
        await asyncio.gather(*(objects.put(key, b"1") for key in keys))
        await asyncio.gather(*(objects.clear("t/") for _ in range(4)))
        assert not any(await asyncio.gather(*(objects.exists(key) for key in keys)))


async def test_many_at_once(objects: ObstoreObjects) -> None:
    await asyncio.gather(*(objects.put(f"t/{number}", str(number).encode()) for number in range(40)))
    assert await asyncio.gather(*(objects.get(f"t/{number}") for number in range(40))) == [str(n).encode() for n in range(40)]


async def test_keys_lie_below_the_prefix_and_large_files_go_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    for where in (bucket.url, f"{bucket.url}/", f"{bucket.url}/deep/er"):
        await opened(where).put_file("t/file", source)
    assert bucket.names() == ["deep/er/t/file", "t/file"]
    assert [bucket.parts(key) for key in bucket.names()] == [3, 3]


async def test_a_slow_reader_gets_all_of_a_large_object(bucket: Bucket) -> None:
    """It takes longer than the timeout, which is for the store and not for who reads."""
    timeout_s = 3.0
    objects = opened(bucket.url, timeout_s)
    large = LARGE * 2  # more than sockets hold
    await opened(bucket.url).put("large", large)
    found = await objects.pieces("large")
    assert found is not None
    first = await anext(found)
    await asyncio.sleep(timeout_s * 1.2)
    assert first + b"".join([piece async for piece in found]) == large


async def test_a_bucket_that_is_not_there_is_no_empty_one(s3: S3, bucket: Bucket, tmp_path: Path) -> None:
    objects = opened(f"{bucket.url}/prefix")
    bucket.remove()
    await _unavailable(objects, tmp_path)


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
async def test_a_store_that_is_down_is_unavailable_and_holds_nobody(
    trouble: str, s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if trouble == "hangs":
            listening.listen(64)  # it takes connections, and never answers
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        await _unavailable(opened("s3://bucket/prefix", timeout_s=0.5), tmp_path)


async def _unavailable(objects: ObstoreObjects, tmp_path: Path) -> None:
    """Every call says so, but for ``exists``: it gets the head of an answer alone, which does not tell what is missing."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"1")
    calls: list[Awaitable[object]] = [
        objects.put("a", b"1"),
        objects.put("a", LARGE),
        objects.get("a"),
        objects.put_file("a", source),
        objects.get_file("a", target),
        objects.pieces("a"),
        objects.delete(["a"]),
        objects.clear("a/"),
        objects.erase(uuid4()),
    ]
    async with asyncio.timeout(_PATIENCE_S):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in answers] == [StoreUnavailable] * len(calls)
    assert not target.exists()


async def test_without_leave_nothing_goes_over_plain_http(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "false"):
        monkeypatch.setenv("AWS_ALLOW_HTTP", value)
        with pytest.raises(StoreUnavailable):
            await opened(bucket.url).put("a", b"1")
    assert bucket.names() == []


def test_an_address_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="MEMORYD_OBJECT_STORE"):
        opened("carrier-pigeon://bucket/prefix")
