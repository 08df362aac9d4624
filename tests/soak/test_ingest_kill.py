"""SIGKILL of the worker while it ingests: every document ends once, with the chunks that it has when nobody is killed.

``MEMORYD_SOAK_KILLS`` says how often; an item survives seven deaths of its worker.
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from memoryd.embedded import process
from tests.embedded.running import eventually
from tests.embedded.up import Up, own_environment

KILLS = min(7, int(os.environ.get("MEMORYD_SOAK_KILLS", "4")))
SEED = int(os.environ.get("MEMORYD_SOAK_SEED", "20260714"))
_SHORT, _LONG = 60, 3
_SECTIONS = 80  # of a long document, whose chunks are more than one batch
_LEASE_S = 2
_RECOVERY_S = 90.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 60 * KILLS)]


def documents(chance: random.Random) -> list[dict[str, str]]:
    """Short ones, which are worked on side by side, and between them some of many chunks."""
    words = [
        "lease",
        "worker",
        "ledger",
        "draft",
        "chunk",
        "vector",
        "posting",
        "tenant",
        "version",
        "digest",
        "page",
        "parser",
        "batch",
        "token",
    ]

    def said(count: int) -> str:
        return " ".join(chance.choice(words) for _ in range(count)).capitalize() + "."

    made = [{"document_id": f"short-{n:02d}", "title": f"Short {n}", "text": said(60)} for n in range(_SHORT)]
    for number in range(_LONG):
        sections = "\n\n".join(f"## Section {n}\n\n{said(90)}" for n in range(_SECTIONS))
        made.insert(number * 15 + 5, {"document_id": f"long-{number}", "title": f"Long {number}", "text": sections})
    return made


def test_a_worker_killed_while_it_ingests_loses_and_doubles_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(SEED)
    docs = documents(chance)
    env = own_environment() | {"MEMORYD_JOBS_LEASE_S": str(_LEASE_S)}
    with Up(place / "d", env=env) as up:
        headers = {"Authorization": f"Bearer {up.said.api_key}"}
        with httpx.Client(base_url=up.said.url, headers=headers, timeout=60) as http:
            killed, moments = ordered(http, "killed", docs), list[str]()
            while len(moments) < KILLS and not seen(http, killed)["finished_at"]:
                before = progress(seen(http, killed))
                eventually(lambda before=before: went_on(http, killed, before), _RECOVERY_S)  # type: ignore[misc]
                time.sleep(chance.uniform(0.0, 0.6))
                moments.append(f"{ended(seen(http, killed))} of {len(docs)}")
                eventually(lambda: dead(up), _RECOVERY_S)
            eventually(lambda: seen(http, killed)["finished_at"] is not None, _RECOVERY_S + 30 * KILLS)
            calm = ordered(http, "calm", docs)
            eventually(lambda: seen(http, calm)["finished_at"] is not None, 120)
            for one in (killed, calm):
                job = seen(http, one)
                # What was stored when the worker died before it said so is unchanged for the next.
                assert (job["state"], ended(job), counted(job, "failed")) == ("succeeded", len(docs), 0), job
            for document in docs:
                name = document["document_id"]
                assert chunks(http, "killed", name) == chunks(http, "calm", name), name
        assert up.end(signal.SIGINT) < 30
    assert KILLS == 1 or len(set(moments)) > 1, f"the worker died too late: {moments}"
    with capsys.disabled():
        print(f"\nworker killed {len(moments)} times, seed {SEED}, with {', '.join(moments)} documents ended")


def ordered(http: httpx.Client, name: str, docs: list[dict[str, str]]) -> str:
    """A knowledge base of that name, and a job that ingests and publishes."""
    assert http.post("/v1/knowledge-bases", json={"name": name}).status_code == 201
    answer = http.post(f"/v1/knowledge-bases/{name}/jobs", json={"documents": docs, "publish": True})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def seen(http: httpx.Client, job_id: str) -> dict[str, object]:
    found: dict[str, object] = http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
    return found


def counted(job: dict[str, object], name: str) -> int:
    counters = job["counters"]
    assert isinstance(counters, dict)
    return int(counters[name])


def ended(job: dict[str, object]) -> int:
    return sum(counted(job, name) for name in ("succeeded", "unchanged", "failed"))


def progress(job: dict[str, object]) -> tuple[int, int]:
    return ended(job), counted(job, "chunks")


def went_on(http: httpx.Client, job_id: str, before: tuple[int, int]) -> bool:
    """The worker is back, and has done something; or nothing is left to do."""
    job = seen(http, job_id)
    return progress(job) != before or job["finished_at"] is not None


def dead(up: Up) -> bool:
    pid = up.pid("worker")
    return pid is not None and process.send(pid, signal.SIGKILL)


def chunks(http: httpx.Client, name: str, document_id: str) -> list[tuple[int, str]]:
    """Ordinals and texts, each ordinal once."""
    found: list[tuple[int, str]] = []
    params = {"document_id": document_id, "limit": "200"}
    while True:
        page = http.get(f"/v1/knowledge-bases/{name}/chunks", params=params).raise_for_status().json()
        found += [(one["ordinal"], one["prefix"] + one["text"]) for one in page["chunks"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert [number for number, times in Counter(number for number, _ in found).items() if times > 1] == []
    assert [number for number, _ in found] == list(range(len(found)))
    return found
