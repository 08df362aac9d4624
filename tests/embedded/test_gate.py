"""The gate on a real socket, with and without somebody behind it."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from memoryd.embedded import gate as gates
from memoryd.embedded.gate import Gate
from memoryd.embedded.ports import listen


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with Gate(listen("127.0.0.1", 0)) as opened:
        yield opened


def url(gate: Gate) -> str:
    return f"http://127.0.0.1:{gate.listener.getsockname()[1]}"


async def raw(gate: Gate, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*gate.listener.getsockname())
    writer.write(sent)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 6)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_every_request_is_answered_with_a_problem_that_says_come_back(gate: Gate) -> None:
    async with httpx.AsyncClient(base_url=url(gate)) as client:
        for method, path in (("GET", "/readyz"), ("POST", "/v1/recall"), ("DELETE", "/v1/memories/x"), ("GET", "/livezz")):
            answer = await client.request(method, path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["connection"] == "close"
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem.pop("request_id")
            assert "starting" in problem.pop("detail")
            assert problem == {
                "type": "https://memoryd.dev/errors/unavailable",
                "title": "Service unavailable",
                "status": 503,
                "code": "unavailable",
            }
        gate.open("backoff")
        assert "backoff" in (await client.get("/")).json()["detail"]
        head = await client.head("/v1/memories")
        assert (head.status_code, head.content) == (503, b"")


async def test_the_installation_is_alive_while_the_api_is_not(gate: Gate) -> None:
    async with httpx.AsyncClient(base_url=url(gate)) as client:
        answer = await client.get("/livez?x=1")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "api": "starting"})
        assert (await client.post("/livez")).status_code == 503


async def test_an_upload_is_answered_not_reset(gate: Gate) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url(gate), content=b"x" * (8 * 2**20))
    assert answer.status_code == 503


async def test_half_a_request_an_endless_header_and_silence_are_not_waited_for(gate: Gate) -> None:
    began = time.monotonic()
    half, endless, silent = await asyncio.gather(
        raw(gate, b"GET / HT"), raw(gate, b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000), raw(gate, b"")
    )
    assert time.monotonic() - began < 20.0
    for answer in (half, endless, silent):
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "unavailable"


async def test_more_callers_than_are_answered_at_once(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_MOST_AT_ONCE", 5)
    answers = await asyncio.gather(*(raw(gate, b"") for _ in range(50)))
    assert all(answer.startswith(b"HTTP/1.1 503") for answer in answers)


async def test_closed_it_leaves_the_queue_alone_and_opened_it_drains_it(gate: Gate) -> None:
    gate.close()
    asking = asyncio.ensure_future(raw(gate, b"GET / HTTP/1.1\r\n\r\n"))
    await asyncio.sleep(0.3)
    assert not asking.done()
    gate.open("backoff")
    assert b'"unavailable"' in await asyncio.wait_for(asking, 10)


async def test_a_queue_that_nobody_serves_is_answered_though_closed(gate: Gate) -> None:
    gate.close()
    began = time.monotonic()
    answer = await raw(gate, b"GET / HTTP/1.1\r\n\r\n")
    assert b"not answering" in answer
    assert gates.STALL_S - 0.5 < time.monotonic() - began < gates.STALL_S + 10


async def test_out_of_file_descriptors_it_pauses_and_a_ready_child_keeps_it_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted(socket.socket):
        calls = 0

        def accept(self) -> tuple[socket.socket, object]:
            Exhausted.calls += 1
            raise OSError(24, "Too many open files")

    plain = listen("127.0.0.1", 0)
    address = plain.getsockname()
    async with Gate(Exhausted(fileno=plain.detach())) as gate:
        reader, writer = await asyncio.open_connection(*address)
        await asyncio.sleep(0.35)
        assert 2 <= Exhausted.calls <= 6  # neither once only, nor spinning
        gate.close()
        calls = Exhausted.calls
        await asyncio.sleep(0.25)
        assert Exhausted.calls == calls
        writer.close()
    del reader


async def test_after_it_the_port_is_closed() -> None:
    async with Gate(listen("127.0.0.1", 0)) as gate:
        address = gate.listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
