"""Both clients and the commands against the whole of it: `memoryd up` with its worker."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from memoryd.cli.main import cli
from memoryd.client import (
    AsyncMemoryd,
    Chunking,
    Conflict,
    Job,
    Memoryd,
    NewDocument,
    NotFound,
    Options,
    Unauthenticated,
    Which,
)
from tests.docs.blocks import blocks, missing, outputs, script
from tests.embedded.running import ROOT
from tests.embedded.up import Up

GUIDE = ROOT / "docs" / "ingest.md"
PAGES = {
    "leave.md": "# Leave\n\nEvery employee has thirty days of paid leave a year.\n",
    "travel/trains.md": "# Trains\n\nBook trains early, second class.\n",
    "travel/hotels.txt": "Hotels up to 120 euros a night need no approval.\n",
}


@pytest.fixture
def memoryd(up: Up) -> Iterator[Memoryd]:
    with Memoryd(up.said.url, up.said.api_key) as client:
        yield client


@pytest.fixture
async def later(up: Up) -> AsyncIterator[AsyncMemoryd]:
    async with AsyncMemoryd(up.said.url, up.said.api_key) as client:
        yield client


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def kb(memoryd: Memoryd) -> Iterator[str]:
    name = f"kb-{uuid4().hex[:8]}"
    memoryd.knowledge.create(name, description="of a test")
    yield name
    memoryd.knowledge.delete(name)


@pytest.fixture
def command(up: Up) -> "Command":
    return Command(up)


class Command:
    """``memoryd …`` beside the running one."""

    def __init__(self, up: Up) -> None:
        self._env = {"MEMORYD_URL": up.said.url, "MEMORYD_API_KEY": up.said.api_key}

    def __call__(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(one) for one in arguments], env=self._env, catch_exceptions=False)


def test_from_a_folder_to_a_version_and_back(memoryd: Memoryd, kb: str, docs: Path, tmp_path: Path) -> None:
    knowledge = memoryd.knowledge
    told: list[Job] = []
    begun = knowledge.ingest_folder(kb, docs, options=Options(publish=True, note="first"))
    first = knowledge.finish(kb, begun, on_change=told.append)
    assert first.good
    assert first.live == 1
    assert told[-1].state == "succeeded"
    assert told[-1].counters.succeeded == 3
    assert knowledge.get(kb).live == 1

    assert {one.document_id for one in knowledge.documents(kb)} == set(PAGES)
    leave = knowledge.document(kb, "leave.md")
    assert leave.sha256 == hashlib.sha256(PAGES["leave.md"].encode()).hexdigest()
    assert leave.title == "Leave"
    chunks = list(knowledge.chunks(kb, "travel/trains.md"))
    assert "Book trains early" in chunks[0].text
    assert knowledge.search(kb, "How early are trains booked?", limit=1).hits[0].external_id == "travel/trains.md"
    assert knowledge.original(kb, "travel/trains.md", tmp_path / "got") == len(PAGES["travel/trains.md"])
    assert (tmp_path / "got").read_text() == PAGES["travel/trains.md"]

    (docs / "leave.md").write_text("# Leave\n\nThirty-two days now.\n")
    (docs / "travel" / "trains.md").unlink()
    again = knowledge.ingest_folder(kb, docs, options=Options(prune=""))
    assert (again.sent, again.unchanged, again.removed) == (1, 1, 1)
    assert knowledge.finish(kb, again).good
    differ = {one.document_id: one.change for one in knowledge.changes(kb)}
    assert differ == {"leave.md": "changed", "travel/trains.md": "removed"}
    assert knowledge.diff(kb).documents.unchanged == 1
    assert knowledge.next_ids(kb) == {"leave.md", "travel/hotels.txt"}

    second = knowledge.publish(kb, note="second")
    assert (second.version, second.live, second.documents) == (2, True, 2)
    knowledge.tag(kb, "q4")
    assert knowledge.rollback(kb, 1).version == 1
    assert {one.document_id for one in knowledge.documents(kb)} == set(PAGES)
    assert {one.document_id for one in knowledge.documents(kb, version="q4")} == {"leave.md", "travel/hotels.txt"}
    assert [(one.version, one.live, one.tags) for one in knowledge.versions(kb)] == [(2, False, ["q4"]), (1, True, [])]
    knowledge.untag(kb, "q4")
    with pytest.raises(NotFound):
        knowledge.document(kb, "leave.md", version="q4")


def test_texts_removals_and_settings(memoryd: Memoryd, kb: str) -> None:
    knowledge = memoryd.knowledge
    changed = knowledge.update(kb, chunking=Chunking(strategy="fact", max_tokens=300), retain=3)
    assert (changed.chunking.strategy, changed.retain) == ("fact", 3)
    changed = knowledge.update(kb, chunking=Chunking(max_tokens=200))
    assert (changed.chunking.strategy, changed.chunking.max_tokens, changed.chunking.overlap_tokens) == ("fact", 200, 32)
    job = knowledge.ingest(
        kb, [NewDocument("a/b c?.md", text="# A\n\nSome text.", title="Title", metadata={"team": "hr"})], key="once"
    )
    assert (
        knowledge.ingest(
            kb, [NewDocument("a/b c?.md", text="# A\n\nSome text.", title="Title", metadata={"team": "hr"})], key="once"
        ).id
        == job.id
    )
    ended = memoryd.jobs.wait(job.id, timeout_s=60)
    assert ended.state == "succeeded"
    assert [one.document_id for one in memoryd.jobs.items(job.id)] == ["a/b c?.md"]
    assert job.id in {one.id for one in memoryd.jobs.list(kb_id=knowledge.get(kb).id)}
    with pytest.raises(Conflict):
        memoryd.jobs.resume(job.id)
    knowledge.remove(kb, "a/b c?.md")
    with pytest.raises(NotFound):
        knowledge.remove(kb, "a/b c?.md")
    knowledge.discard(kb)
    assert knowledge.draft(kb) is None
    assert knowledge.collect(kb).versions == []
    assert kb in {one.name for one in knowledge.list()}


async def test_the_same_in_an_event_loop(later: AsyncMemoryd, memoryd: Memoryd, kb: str, docs: Path) -> None:
    begun = await later.knowledge.ingest_folder(kb, docs, which=Which("x/", include=["*.md"]))
    async with aclosing(later.jobs.events(begun.jobs[0].id)) as events:
        kinds = [event.kind async for event in events]
    assert kinds[0] == "state"
    finished = await later.knowledge.finish(kb, begun)
    assert finished.good
    await later.knowledge.publish(kb)
    assert {one.document_id async for one in later.knowledge.documents(kb)} == {"x/leave.md", "x/travel/trains.md"}


def test_the_commands(command: Command, kb: str, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\nno more")
    said = command("ingest", docs, "--kb", kb, "--publish", "--json")
    assert said.exit_code == 1
    found = json.loads(said.stdout)
    assert (found["sent"], found["live"]) == (4, None)
    assert [one["document_id"] for one in found["failed"]] == ["broken.pdf"]
    (job,) = found["jobs"]
    assert job["state"] == "partial"
    shown = command("jobs", "show", job["id"])
    assert shown.exit_code == 1
    assert "broken.pdf" in shown.stdout

    said = command("ingest", docs, "--kb", kb, "--exclude", "*.pdf", "--prune", "--publish")
    assert said.exit_code == 0, said.output
    assert f"{kb}: 0 sent, 3 unchanged, 0 removed, 0 failed" in said.stdout
    assert f"{kb}@live is version 1" in said.stdout
    assert command("kb", "tag", kb, "good").exit_code == 0
    assert "good" in command("kb", "versions", kb).stdout
    said = command("kb", "diff", kb)
    assert (said.exit_code, said.stderr) == (1, "memoryd: there is no draft [not_found]\n")


def test_what_the_guide_runs(up: Up, memoryd: Memoryd, docs: Path) -> None:
    (docs / "travel" / "trains.md").rename(docs / "travel.md")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    (docs.parent / ".curlrc").write_text("fail-with-body\nshow-error\n")
    known = {"URL": up.said.url, "KEY": up.said.api_key, "MEMORYD_URL": up.said.url, "MEMORYD_API_KEY": up.said.api_key}
    environment = os.environ | known | {"PATH": programs, "PYTHONPATH": str(ROOT), "CURL_HOME": str(docs.parent)}
    some = blocks(GUIDE)
    ran = subprocess.run(
        ["bash", "-c", script(some)], cwd=docs.parent, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert not missing(some, outputs(ran.stdout))
    for name in ("handbook", "policies"):
        memoryd.knowledge.delete(name)


def test_the_guide_in_python(up: Up, memoryd: Memoryd, docs: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    environment = os.environ | {"MEMORYD_URL": up.said.url, "MEMORYD_API_KEY": up.said.api_key, "PYTHONPATH": str(ROOT)}
    for said in ("3 sent, 0 unchanged; version 1 is live", "0 sent, 3 unchanged; version 1 is live"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=docs.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        assert said in ran.stdout.splitlines()
    memoryd.knowledge.delete("handbook")


def test_a_wrong_key(up: Up) -> None:
    with Memoryd(up.said.url, "mdk_wrong") as stranger, pytest.raises(Unauthenticated):
        list(stranger.knowledge.list())
