"""Valkey killed with its files gone, again and again, while agents write: what was acknowledged a snapshot interval ago is there.

This is worse than a crash, which leaves the append-only file. ``MEMORYD_SOAK_LOSSES`` says how often (``make soak``: 6).
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from memoryd.embedded import datadir, process
from tests.embedded.running import eventually
from tests.embedded.up import Up, own_environment

LOSSES = int(os.environ.get("MEMORYD_SOAK_LOSSES", "1"))
_WRITERS = 3
_BUSY = tuple(f"busy-{number}" for number in range(5))
# A third of it is what two busy cores may take for a round and for writing: see docs/sessions.md.
_INTERVAL_S = 12
_PAUSE_S = 0.02
_RECOVERY_S = 120.0
_PATIENCE_S = 90.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 + 240 * LOSSES)]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A message that was answered for: in which session, where, and when it was sent and answered (``time.monotonic``)."""

    session: str
    position: int
    sent: float
    answered: float


@dataclass
class Agents:
    """Several that write to the same sessions, and repeat a message until it is acknowledged. They never say a thing again."""

    up: Up
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)

    def write(self, name: str, stop: threading.Event) -> None:
        """Say one thing after another, in every session by turns, until told to stop."""
        with client(self.up) as http:
            turn = 0
            while not stop.wait(_PAUSE_S):
                turn += 1
                self.say(http, _BUSY[turn % len(_BUSY)], f"{name}-{turn}")

    def say(self, http: httpx.Client, session: str, text: str) -> None:
        """Until it is acknowledged."""
        self.sent.add(text)
        body = {"messages": [{"role": "user", "content": text, "id": text}]}
        until = time.monotonic() + _PATIENCE_S
        while (began := time.monotonic()) < until:
            try:
                answer = http.post(f"/v1/sessions/{session}/messages", json=body)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code == httpx.codes.CREATED:
                position = answer.json()["results"][0]["position"]
                self.acknowledged[text] = Acknowledged(session, position, began, time.monotonic())
                return
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
            time.sleep(0.1)
        pytest.fail(f"{text} was not acknowledged within {_PATIENCE_S} s")


@dataclass(frozen=True, slots=True)
class Loss:
    """When Valkey held everything for the last time, and when it was gone; and the same by the clock on the wall."""

    began: float
    ended: float
    wall: datetime


def test_what_is_older_than_the_interval_survives_the_loss_of_all_that_redis_has(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = own_environment() | {"MEMORYD_SESSION_SNAPSHOT_INTERVAL_S": str(_INTERVAL_S)}
    lost: set[str] = set()
    ages: list[float] = []
    with Up(place / "d", env=env) as up:
        agents, sessions = Agents(up), list(_BUSY)
        for number in range(LOSSES):
            with writing(agents, f"{number}"):
                sessions += [f"awake-{number}", f"quiet-{number}"]
                with client(up) as http:
                    # The bound is for a worker that runs, and the last loss ended it.
                    agents.say(http, sessions[-2], f"{number} was said to see it at work")
                    wait_for_snapshot(up, sessions[-2])
                    agents.say(http, sessions[-1], f"{number} was said once")
                time.sleep(_INTERVAL_S * 1.5)
                loss = lose_redis(up)
                time.sleep(1)
            found = {session: messages(up, session) for session in sessions}
            gone = what_is_gone(agents, found) - lost
            # Nothing that was older than the interval, and nothing that came after.
            wrong = {one: agents.acknowledged[one] for one in gone if not young(agents.acknowledged[one], loss)}
            assert wrong == {}, loss
            assert gone, "nothing was lost, so that nothing was shown"
            ages.append(max(loss.began - agents.acknowledged[one].answered for one in gone))
            for session in sessions:
                assert restored_at(up, session) >= loss.wall
            lost |= gone
    with capsys.disabled():
        print(
            f"\n{LOSSES} losses: {len(agents.acknowledged)} messages acknowledged, {len(lost)} lost; the oldest "
            f"{', '.join(f'{age:.1f}' for age in ages)} s before; the interval is {_INTERVAL_S} s"
        )


def what_is_gone(agents: Agents, found: Mapping[str, Mapping[str, int]]) -> set[str]:
    """Acknowledged messages that are in no session; the others are in theirs alone, where they were put, and nothing else is."""
    stored = {text: (session, position) for session, texts in found.items() for text, position in texts.items()}
    assert len(stored) == sum(map(len, found.values()))
    assert stored.keys() <= agents.sent
    told = {text: (one.session, one.position) for text, one in agents.acknowledged.items() if text in stored}
    assert {text: stored[text] for text in told} == told
    return agents.acknowledged.keys() - stored.keys()


def young(message: Acknowledged, loss: Loss) -> bool:
    """Whether it may be lost."""
    return message.answered >= loss.began - _INTERVAL_S and message.sent <= loss.ended


@contextmanager
def writing(agents: Agents, name: str) -> Iterator[None]:
    """Agents at work until the block ends, and then until each has seen its last answer."""
    stop = threading.Event()
    with ThreadPoolExecutor(_WRITERS) as pool:
        running = [pool.submit(agents.write, f"{name}-{number}", stop) for number in range(_WRITERS)]
        try:
            yield
        finally:
            stop.set()
    for one in running:
        one.result()


def lose_redis(up: Up) -> Loss:
    """Stop Valkey where it is, remove its files, kill it, and wait until it is back, with nothing."""
    pid = up.pid("valkey")
    assert pid is not None
    began, wall = time.monotonic(), datetime.now(UTC)
    assert process.send(pid, signal.SIGSTOP)
    for one in datadir.attached(up.data).valkey.iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    assert process.send(pid, signal.SIGKILL)
    ended = time.monotonic()
    eventually(lambda: up.pid("valkey") not in {None, pid} and up.ready(), _RECOVERY_S)
    return Loss(began, ended, wall)


def client(up: Up) -> httpx.Client:
    """Of the first tenant."""
    return httpx.Client(base_url=up.said.url, headers={"Authorization": f"Bearer {up.said.api_key}"}, timeout=30)


def messages(up: Up, session: str) -> dict[str, int]:
    """Every visible message with its position, in order."""
    found: dict[str, int] = {}
    after: int | None = 0
    with client(up) as http:
        while after is not None:
            answer = http.get(f"/v1/sessions/{session}/messages", params={"after": after, "limit": 500})
            page = answer.raise_for_status().json()
            for one in page["messages"]:
                assert one["content"] not in found, "twice"
                found[one["content"]] = one["position"]
            after = page["next_after"]
    assert list(found.values()) == sorted(found.values())
    return found


def wait_for_snapshot(up: Up, session: str) -> None:
    """Until the worker has written one."""

    def written() -> bool:
        with client(up) as http:
            return bool(http.get(f"/v1/sessions/{session}/snapshots").raise_for_status().json()["snapshots"])

    eventually(written, _RECOVERY_S)


def restored_at(up: Up, session: str) -> datetime:
    """When it was last read back from a snapshot."""
    with client(up) as http:
        origin = http.get(f"/v1/sessions/{session}").raise_for_status().json()["restored_from"]
    return datetime.fromisoformat(origin["restored_at"])
