"""SIGKILL of the API and of Valkey in a storm of appends, and Redis emptied: what was acknowledged is there, in order, once."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from memoryd.embedded import datadir, process
from memoryd.embedded.valkey import ValkeyServer
from tests.embedded.running import ROOT, eventually
from tests.embedded.up import Up, own_environment

_WRITERS = 4
_INTERVAL_S = 4
_PATIENCE_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Storm:
    """Agents that append to one session until they are told to stop; a message is repeated until it is acknowledged."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        self.stop = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self.failures = 0

    def write(self, number: int) -> None:
        with httpx.Client(base_url=self._url, headers={"Authorization": f"Bearer {self._key}"}, timeout=10) as http:
            turn = 0
            while not self.stop.is_set():
                turn += 1
                self._say(http, f"agent {number}", f"{number}-{turn}")

    def _say(self, http: httpx.Client, agent: str, name: str) -> None:
        until = time.monotonic() + _PATIENCE_S
        body = {"messages": [{"role": "user", "content": name, "id": name, "agent_id": agent}]}
        while time.monotonic() < until:
            try:
                answer = http.post("/v1/sessions/storm/messages", json=body)
            except httpx.TransportError:
                self.failures += 1
            else:
                if answer.status_code == httpx.codes.CREATED:
                    self.acknowledged[name] = answer.json()["results"][0]["position"]
                    return
                assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
                assert int(answer.headers["retry-after"]) >= 1
                self.failures += 1
            time.sleep(0.1)
        pytest.fail(f"{name} was not acknowledged within {_PATIENCE_S} s")


def messages(up: Up) -> dict[str, int]:
    """Every visible message with its position, in order."""
    found: dict[str, int] = {}
    after = 0
    with httpx.Client(base_url=up.said.url, headers={"Authorization": f"Bearer {up.said.api_key}"}, timeout=30) as http:
        while True:
            page = http.get("/v1/sessions/storm/messages", params={"after": after, "limit": 500}).raise_for_status().json()
            for one in page["messages"]:
                assert one["content"] not in found, "twice"
                found[one["content"]] = one["position"]
            if page["next_after"] is None:
                assert list(found.values()) == sorted(found.values())
                return found
            after = page["next_after"]


def kill(up: Up, child: str) -> None:
    """SIGKILL, and wait until it is back."""
    pid = up.pid(child)
    assert pid is not None
    assert process.send(pid, signal.SIGKILL)
    eventually(lambda: up.pid(child) not in {None, pid} and up.ready(), 90)


def test_a_storm_of_appends_survives_kills_and_an_emptied_redis(place: Path) -> None:
    env = own_environment() | {"MEMORYD_SESSION_SNAPSHOT_INTERVAL_S": str(_INTERVAL_S), "MEMORYD_SESSION_MAX_MESSAGES": "100000"}
    with Up(place / "d", env=env) as up, ThreadPoolExecutor(_WRITERS) as pool:
        storm = Storm(up.said.url, up.said.api_key)
        writers = [pool.submit(storm.write, number) for number in range(_WRITERS)]
        try:
            time.sleep(2)
            for child in ("api", "valkey"):
                kill(up, child)
                time.sleep(2)
        finally:
            storm.stop.set()
        for writer in writers:
            writer.result()
        assert storm.failures, "the kills were not felt"
        found = messages(up)
        # A process that is killed loses nothing that it acknowledged: the answer comes after the write to the file.
        assert {name: found.get(name) for name in storm.acknowledged} == storm.acknowledged
        assert len(found) >= 100
        # Now everything in Redis is lost. What is older than the interval is in a snapshot, once the worker is back.
        eventually(lambda: _snapshotted(up) == max(found.values()), 60)
        _emptied(up)
        assert messages(up) == found
        with httpx.Client(base_url=up.said.url, headers={"Authorization": f"Bearer {up.said.api_key}"}, timeout=30) as http:
            session = http.get("/v1/sessions/storm").raise_for_status().json()
            assert session["restored_from"]["snapshot_id"]
        _resume(up, env)


def _snapshotted(up: Up) -> int:
    """The newest position that a snapshot has."""
    with httpx.Client(base_url=up.said.url, headers={"Authorization": f"Bearer {up.said.api_key}"}, timeout=30) as http:
        kept = http.get("/v1/sessions/storm/snapshots").raise_for_status().json()["snapshots"]
    return max((one["head"] for one in kept), default=0)


def _emptied(up: Up) -> None:
    import redis

    data = datadir.attached(up.data)
    with redis.Redis.from_url(ValkeyServer(data, port=up.state.ports["valkey"]).url) as client:
        client.flushall()


def _resume(up: Up, env: dict[str, str]) -> None:
    """The example of the documentation: an agent that is killed, and goes on."""
    env = env | {"MEMORYD_URL": up.said.url, "MEMORYD_API_KEY": up.said.api_key, "PATH": os.environ["PATH"]}
    command = [sys.executable, "docs/examples/session_resume.py", "trip"]
    first = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 0, second.stderr
    assert first.stdout.count("doing:") == 2
    assert [line.split(":")[0].strip() for line in second.stdout.splitlines()[:4]] == ["known", "known", "doing", "doing"]
    assert "all 4 steps are done, each once" in second.stdout
