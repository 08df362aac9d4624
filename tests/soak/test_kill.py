"""SIGKILL while memories are written: what was acknowledged is there, once, and can be found."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from memoryd.embedded import process
from tests.embedded.running import alive, eventually
from tests.embedded.up import CHILDREN, Announced, Up
from tests.soak.recount import counts, defects
from tests.soak.writer import PATIENCE_S, Record, Writer

KINDS = (*CHILDREN, "supervisor")
KILLS = int(os.environ.get("MEMORYD_SOAK_KILLS", str(len(KINDS))))
SEED = int(os.environ.get("MEMORYD_SOAK_SEED", "20260714"))
_WRITERS = 2
_RECOVERY_S = 90.0
_OVERLAP = 0.25  # how often the next kill comes before the last one's victim is back
_QUERY_MARKERS = 20
_PAGE = 200

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 45 * KILLS)]


class Installation:
    """``memoryd up`` on one data directory and one port, through the deaths of its parts and of itself."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self._port = httpx.URL(up.said.url).port or 0

    def kill(self, kind: str) -> None:
        """SIGKILL one process; a supervisor is started again, as whatever runs it would."""
        if kind != "supervisor":
            eventually(lambda: self._killed(kind), _RECOVERY_S)
            return
        self.up.end(signal.SIGKILL)
        self.up = Up(self.up.data, port=self._port)
        self.up.launch()

    def _killed(self, kind: str) -> bool:
        pid = self.up.pid(kind)
        return pid is not None and process.send(pid, signal.SIGKILL)

    def recovered(self) -> bool:
        """Whether every child is ready again; raises when the supervisor is not there to see to it."""
        assert self.up.process.poll() is None, self.up.stderr
        return self.up.state.alive and self.up.ready()


def plan(kills: int, chance: random.Random) -> list[str]:
    """Every kind once, then any; in any order."""
    order = [*KINDS, *(chance.choice(KINDS) for _ in range(max(0, kills - len(KINDS))))][:kills]
    chance.shuffle(order)
    return order


def test_every_plan_has_every_kind() -> None:
    for kills in (len(KINDS), 20):
        order = plan(kills, random.Random(kills))
        assert len(order) == kills
        assert set(order) == set(KINDS)


def test_nothing_acknowledged_is_lost_or_doubled(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(SEED)
    began = time.monotonic()
    with Up(place / "d") as first:
        installation = Installation(first)
        try:
            with _writing(first, SEED) as records:
                for kind in plan(KILLS, chance):
                    acknowledged = _acknowledged(records)
                    if chance.random() >= _OVERLAP:
                        eventually(lambda: installation.recovered(), _RECOVERY_S)
                        eventually(lambda before=acknowledged: _acknowledged(records) >= before + 5, _RECOVERY_S)  # type: ignore[misc]
                    time.sleep(chance.uniform(0.0, 1.0))
                    installation.kill(kind)
                eventually(lambda: installation.recovered(), _RECOVERY_S)
            merged = _merged(records)
            # Whoever runs it now announces the same address and key as the first did.
            said = installation.up.announced()
            assert (said.url, said.api_key) == (first.said.url, first.said.api_key)
            _promises_are_kept(said, merged, chance)
            assert defects(place / "d") == {}
            counted = counts(place / "d")
        finally:
            family = installation.up.family()
            installation.up.end(signal.SIGINT)
        assert installation.up.process.returncode == 0, installation.up.stderr
        eventually(lambda: not alive(family), 2.0)
    assert merged.surprises == []
    assert merged.slowest_s < PATIENCE_S
    assert counted["passages"] > counted["memories"]  # some are long
    assert counted["idempotency_keys"] > 0
    with capsys.disabled():
        print(
            f"\n{KILLS} kills, seed {SEED}, {time.monotonic() - began:.0f} s: {len(merged.sent)} memories sent, "
            f"{len(merged.acknowledged)} acknowledged, {counted['memories']} stored; answers {dict(merged.answers)}, "
            f"slowest {merged.slowest_s:.1f} s"
        )


@contextmanager
def _writing(up: Up, seed: int) -> Iterator[list[Record]]:
    """Writers at work, until the block ends; then each has seen its last answer."""
    stop = threading.Event()
    writers = [Writer(f"w{number}", up.said.url, up.said.api_key, seed) for number in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS) as pool:
        running = [pool.submit(writer.run, stop) for writer in writers]
        try:
            yield [writer.record for writer in writers]
        finally:
            stop.set()
    for future in running:
        future.result()


def _acknowledged(records: Sequence[Record]) -> int:
    return sum(len(record.acknowledged) for record in records)


def _merged(records: Sequence[Record]) -> Record:
    merged = Record(slowest_s=max(record.slowest_s for record in records))
    for record in records:
        merged.sent |= record.sent
        merged.acknowledged |= record.acknowledged
        merged.answers += record.answers
        merged.surprises += record.surprises
    return merged


def _promises_are_kept(said: Announced, record: Record, chance: random.Random) -> None:
    headers = {"Authorization": f"Bearer {said.api_key}"}
    with httpx.Client(base_url=said.url, headers=headers, timeout=PATIENCE_S) as client:
        stored = _listed(client)
        texts = {one.external_id: one.text for one in record.sent.values()}
        assert [name for name, times in Counter(external for _, external, _ in stored).items() if times > 1] == []
        assert {external: text for _, external, text in stored}.items() <= texts.items()
        ids = {external: memory_id for memory_id, external, _ in stored}
        promised = {external: str(memory_id) for external, memory_id in record.acknowledged.items()}
        assert len(promised) >= 5 * KILLS  # there was something to lose
        assert {external: ids.get(external) for external in promised} == promised
        for external, memory_id in promised.items():
            answer = client.get(f"/v1/memories/{memory_id}")
            assert (answer.status_code, answer.json().get("text")) == (200, texts[external])
        _everything_is_found(client, [record.sent[external].marker for external in ids], list(ids.values()))
        for external in chance.sample(sorted(promised), 20):
            assert _found(client, record.sent[external].marker) == [promised[external]]


def _listed(client: httpx.Client) -> list[tuple[str, str, str]]:
    """Id, external id and text of every memory, page by page."""
    found: list[tuple[str, str, str]] = []
    cursor: str | None = None
    while True:
        page = client.get("/v1/memories", params={"limit": _PAGE} | ({"cursor": cursor} if cursor else {}))
        assert page.status_code == 200, page.text
        found += [(one["id"], one["external_id"], one["text"]) for one in page.json()["memories"]]
        cursor = page.json().get("next_cursor")
        if cursor is None:
            return found


def _everything_is_found(client: httpx.Client, markers: Sequence[str], ids: Sequence[str]) -> None:
    """A query of many markers finds just the memories that have them, each once."""
    for start in range(0, len(markers), _QUERY_MARKERS):
        found = _found(client, " ".join(markers[start : start + _QUERY_MARKERS]))
        assert sorted(found) == sorted(ids[start : start + _QUERY_MARKERS])


def _found(client: httpx.Client, query: str) -> list[str]:
    answer = client.post("/v1/recall", json={"query": query, "arms": ["lexical"], "limit": 100, "rerank": "off"})
    assert answer.status_code == 200, answer.text
    assert answer.json().get("degraded", []) == []
    return [hit["id"] for hit in answer.json()["hits"]]
