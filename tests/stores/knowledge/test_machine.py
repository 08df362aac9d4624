"""A random life of one knowledge base on a real PostgreSQL, against a model of a few dictionaries."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from psycopg.rows import TupleRow

from memoryd.database_wiring import database as service_database
from memoryd.errors import Conflict, NotFound, VersionGone
from memoryd.knowledge.model import Pin, Staging, VersionState
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation, live_generation
from memoryd.stores.knowledge import collect as collecting
from memoryd.stores.knowledge import discard as discarding
from memoryd.stores.knowledge import publish as publishing
from tests.stores.knowledge.shelf import PART, Shelf, erased, new_shelf, words

Answer = TypeVar("Answer")
Text = tuple[tuple[str, ...], int]
"""A document: its lines, and the one number in its metadata."""
Content = dict[str, Text]

NAMES = st.sampled_from(["a", "b", "c"])
LINES = st.sampled_from([(), ("x y",), ("x y", "z"), ("z", "x y", "x y", "w w"), ("v", "z", "u")])
TEXTS = st.tuples(LINES, st.sampled_from([1, 1, 1, 2]))
TAGS = st.sampled_from(["good", "best"])
STEPS = st.sampled_from(["leave_out", "verify", "count", "move", "leave"])
RETAIN = 1
GRACE_S = 50


class Crash(Exception):
    """As if the process were gone."""


@dataclass
class Draft:
    base: int | None
    content: Content
    half: dict[str, tuple[Text, Staging]] = field(default_factory=dict)
    discarding: bool = False


@dataclass
class Model:
    """What a knowledge base is: contents by number, one of which is live, names for some, and perhaps a draft."""

    published: dict[int, Content] = field(default_factory=dict)
    collected: dict[int, datetime] = field(default_factory=dict)
    live: int | None = None
    tags: dict[str, int] = field(default_factory=dict)
    draft: Draft | None = None
    pins: list[tuple[Pin, Content]] = field(default_factory=list)

    @property
    def newest(self) -> int:
        return max(self.published, default=0)

    def begun(self) -> Draft:
        """The draft; a new one is what is live."""
        if self.draft is None:
            self.draft = Draft(self.live, dict(self.next))
        return self.draft

    @property
    def next(self) -> Content:
        """What a publish would make live."""
        return self.draft.content if self.draft else self.published[self.live] if self.live else {}

    def readable(self) -> list[int]:
        return [seq for seq in self.published if seq not in self.collected]

    def unneeded(self) -> list[int]:
        base = self.draft.base if self.draft else None
        kept = {self.live, base, *self.tags.values(), *sorted(self.readable())[-RETAIN:]}
        return [seq for seq in self.readable() if seq not in kept]


class Machine(RuleBasedStateMachine):
    loop: asyncio.AbstractEventLoop
    database: Database
    generation: Generation

    @initialize()
    def begin(self) -> None:
        self.shelf = self.run(new_shelf(self.database, self.generation, retain=RETAIN))
        self.model = Model()
        self.zombies: list[tuple[str, Text, Staging]] = []

    def run(self, work: Coroutine[object, object, Answer]) -> Answer:
        return self.loop.run_until_complete(work)

    def refused(self, work: Coroutine[object, object, object], kind: type[Exception] = Conflict) -> None:
        with pytest.raises(kind):
            self.run(work)

    @rule(name=NAMES, text=TEXTS)
    def stage(self, name: str, text: Text) -> None:
        """Write a document to its end, from where an earlier attempt was left."""
        staging = self.begin_document(name, text)
        if staging is None:
            return
        while staging.stored < len(text[0]):
            staging = self.run(self.shelf.part(staging, text[0]))
        self.run(self.shelf.finish(staging))
        self.model.begun().half.pop(name)
        self.model.begun().content[name] = text

    @rule(name=NAMES, text=TEXTS, parts=st.integers(0, 2))
    def abandon(self, name: str, text: Text, parts: int) -> None:
        """Write some of a document, and never come back."""
        staging = self.begin_document(name, text)
        if staging is None:
            return
        for _ in range(parts):
            if staging.stored < len(text[0]):
                staging = self.run(self.shelf.part(staging, text[0]))
        self.model.begun().half[name] = (text, staging)
        self.zombies.append((name, text, staging))

    def begin_document(self, name: str, text: Text) -> Staging | None:
        work = self.shelf.begin(name, text[0], metadata={"n": text[1]})
        if self.model.draft is not None and self.model.draft.discarding:
            self.refused(work)
            return None
        if self.model.draft is None and self.model.next.get(name) == text:
            assert self.run(work) is None
            return None  # and no draft is begun for it
        draft = self.model.begun()
        staging = self.run(work)
        had, half = draft.content.get(name), draft.half.pop(name, None)
        if staging is None:
            # It has these lines, or it had them before it was changed.
            draft.content[name] = text
            return None
        assert had is None or had[0] != text[0]
        goes_on = half is not None and half[0][0] == text[0]
        assert staging.stored == (half[1].stored if half is not None and goes_on else 0)
        draft.half[name] = (text, staging)
        return staging

    @precondition(lambda self: bool(self.zombies))
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        """One who was thought dead writes on."""
        name, text, staging = data.draw(st.sampled_from(self.zombies))
        draft = self.model.draft
        half = draft.half.get(name) if draft is not None and not draft.discarding else None
        work = self.shelf.part(staging, text[0])
        if half is None or half[1] != staging:
            self.refused(work)
        else:
            assert draft is not None
            draft.half[name] = (half[0], self.run(work))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        model = self.model
        if model.draft is not None and model.draft.discarding:
            if name in (model.published[model.live] if model.live else {}):
                self.refused(self.shelf.remove(name))
            return
        there = name in model.next
        assert self.run(self.shelf.remove(name)) == there
        if there:
            del model.begun().content[name]

    @rule()
    def publish(self) -> None:
        model, draft = self.model, self.model.draft
        if draft is None or draft.discarding or draft.base != model.live:
            self.refused(self.shelf.publish())
            return
        version = self.run(self.shelf.publish())
        assert version.seq == model.newest + 1
        assert (version.documents, version.chunks) == (len(draft.content), sum(len(lines) for lines, _ in draft.content.values()))
        model.published[version.seq] = draft.content
        model.live, model.draft = version.seq, None

    @rule(name=NAMES, text=TEXTS)
    def release(self, name: str, text: Text) -> None:
        """So that there are versions enough to collect, each with a reader."""
        self.stage(name, text)
        self.publish()
        if self.model.live is not None:
            self.model.pins.append((self.run(self.shelf.pin()), self.model.published[self.model.live]))

    @rule(step=STEPS)
    def crash_while_publishing(self, step: str) -> None:
        draft = self.model.draft
        ready = draft is not None and not draft.discarding and draft.base == self.model.live
        with crashing(publishing, step, 1):
            self.refused(self.shelf.publish(), Crash if ready else Conflict)

    @precondition(lambda self: bool(self.model.published))
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(sorted(self.model.published)))
        if seq in self.model.collected:
            self.refused(self.shelf.rollback(seq), VersionGone)
        else:
            self.run(self.shelf.rollback(seq))
            self.model.live = seq

    @precondition(lambda self: bool(self.model.published))
    @rule(tag=TAGS, data=st.data())
    def tag(self, tag: str, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(sorted(self.model.published)))
        work = self.shelf.versions.tag(self.shelf.scope, self.shelf.kb, tag, seq, self.shelf.now())
        if seq in self.model.collected:
            self.refused(work, VersionGone)
        else:
            self.run(work)
            self.model.tags[tag] = seq

    @rule(tag=TAGS)
    def untag(self, tag: str) -> None:
        work = self.shelf.versions.tag(self.shelf.scope, self.shelf.kb, tag, None, self.shelf.now())
        if self.model.tags.pop(tag, None) is None:
            self.refused(work, NotFound)
        else:
            self.run(work)

    @rule(after=st.none() | st.integers(1, 3))
    def discard(self, after: int | None) -> None:
        """Perhaps interrupted after some transactions."""
        if after is not None and self.model.draft is not None:
            with crashing(discarding, "_step", after), suppress(Crash):
                self.run(self.shelf.discard())
            newest = self.run(self.shelf.versions.page(self.shelf.scope, self.shelf.kb, before=None, limit=1))
            if newest and newest[0].state is VersionState.DRAFT:
                self.model.draft.discarding = True
            else:
                self.model.draft = None
            return
        assert self.run(self.shelf.discard()) == (self.model.draft is not None)
        self.model.draft = None

    @rule(seconds=st.sampled_from([0, 2 * GRACE_S]), after=st.none() | st.integers(1, 2))
    def collect(self, seconds: int, after: int | None) -> None:
        """Perhaps interrupted while it erases."""
        model = self.model
        self.shelf.ticks += seconds
        now = self.shelf.now()
        gone, interrupted = model.unneeded(), False
        work = self.shelf.versions.collect(self.shelf.scope, self.shelf.kb, now=now, grace_s=GRACE_S, erase=erased)
        with crashing(collecting, "erase", after or 1_000):
            try:
                assert list(self.run(work).versions) == gone
            except Crash:
                interrupted = True
        for seq in gone:
            model.collected[seq] = now
        if model.draft is not None and model.draft.discarding:
            model.draft = None
        until = now - timedelta(seconds=GRACE_S)
        model.pins = [(pin, content) for pin, content in model.pins if model.collected.get(pin.seq, now) > until]
        if not interrupted:
            needed = {seq for seq in model.published if model.collected.get(seq, now) > until} | {model.newest + 1}
            for first, last in self.run(self.intervals()):
                assert any(first <= seq and (last is None or seq < last) for seq in needed), "garbage is left"

    async def intervals(self) -> list[tuple[int, int | None]]:
        sql = "SELECT from_seq, to_seq FROM kb_documents WHERE tenant_id = %(tenant)s"
        rows = await self.database.read(self.shelf.scope, sql, {"tenant": self.shelf.scope.tenant_id})
        return [(first, last) for first, last in rows]

    @precondition(lambda self: self.model.live is not None)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        """A reader that takes its time."""
        seq = data.draw(st.sampled_from(sorted(self.model.published)))
        if seq in self.model.collected:
            self.refused(self.shelf.pin(str(seq)), VersionGone)
        else:
            self.model.pins.append((self.run(self.shelf.pin(str(seq))), self.model.published[seq]))

    @precondition(lambda self: bool(self.model.pins))
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """Through the reader, and every index as a search looks at it."""
        pin, content = data.draw(st.sampled_from(self.model.pins))
        assert self.run(self.shelf.at(pin)) == {name: list(lines) for name, (lines, _) in content.items()}

    @invariant()
    def is_as_the_model(self) -> None:
        if not hasattr(self, "shelf"):
            return
        model, rows = self.model, self.run(_Rows.read(self.shelf))
        for seq in model.readable():
            assert rows.at(seq) == model.published[seq]
        for pin, content in model.pins:
            assert rows.at(pin.seq) == content
        if model.draft is not None and not model.draft.discarding:
            assert rows.at(model.newest + 1, half=True) == model.draft.content
        for tag, seq in model.tags.items():
            assert self.run(self.shelf.pin(tag)).seq == seq
        if model.live is None:
            self.refused(self.shelf.pin(), NotFound)
        else:
            assert self.run(self.shelf.pin()).seq == model.live


@dataclass
class _Rows:
    """Every row of a knowledge base, to be looked at as of any version."""

    shelf: Shelf
    documents: list[TupleRow]
    chunks: list[TupleRow]
    vectors: list[TupleRow]
    postings: list[TupleRow]

    @classmethod
    async def read(cls, shelf: Shelf) -> "_Rows":
        sql = (
            "SELECT document_pid, document_id, complete, (metadata->>'n')::int, from_seq, to_seq FROM kb_documents",
            "SELECT pid, document_pid, ordinal, text, from_seq, to_seq FROM kb_chunks",
            "SELECT pid, from_seq, to_seq FROM kb_vectors",
            "SELECT pid, term, tf, from_seq, to_seq FROM kb_postings",
        )
        params = {"tenant": shelf.scope.tenant_id}
        statements = [(f"{one} WHERE tenant_id = %(tenant)s", params) for one in sql]
        return cls(shelf, *await shelf.database.read_all(shelf.scope, statements))

    def at(self, seq: int, *, half: bool = False) -> Content:
        """What a version has; with ``half`` there may be chunks of documents that are being written."""

        def visible(first: int, last: int | None) -> bool:
            return first <= seq and (last is None or last > seq)

        whole = {pid: (name, n) for pid, name, complete, n, *span in self.documents if complete and visible(*span)}
        assert len({name for name, _ in whole.values()}) == len(whole)
        chunks = {pid: (of, n, text) for pid, of, n, text, *span in self.chunks if visible(*span) and (of in whole or not half)}
        assert {of for of, *_ in chunks.values()} <= set(whole)
        skipped = {pid for pid, of, *_ in self.chunks if of not in whole} if half else set[int]()
        assert {pid for pid, *span in self.vectors if visible(*span)} - skipped == set(chunks)
        assert Counter((p, t, f) for p, t, f, *span in self.postings if visible(*span) and p not in skipped) == Counter(
            (pid, self.shelf.term(word), tf) for pid, (_, _, text) in chunks.items() for word, tf in words(text).items()
        )
        return {
            name: (tuple(text for of, _, text in sorted(chunks.values()) if of == pid), n) for pid, (name, n) in whole.items()
        }


@contextmanager
def crashing(module: object, name: str, after: int) -> Iterator[None]:
    """The function does its work ``after`` times, and then everything is over."""
    work: Callable[..., Coroutine[object, object, object]] = getattr(module, name)
    calls = Counter[str]()

    async def crash(*given: object, **named: object) -> object:
        done = await work(*given, **named)
        calls[name] += 1
        if calls[name] >= after:
            raise Crash
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, crash)
        yield


@pytest.mark.slow
def test_any_life_of_a_knowledge_base_is_as_the_model_says(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (discarding, collecting):  # many small transactions
        monkeypatch.setattr(module, "_DOCUMENTS", 1)
        monkeypatch.setattr(module, "_CHUNKS", PART)
    loop = asyncio.new_event_loop()
    database = service_database(settings)
    loop.run_until_complete(database.open())
    try:
        generation = loop.run_until_complete(live_generation(database))
        assert generation is not None
        machine = type("Bound", (Machine,), {"loop": loop, "database": database, "generation": replace(generation)})
        run = machine.TestCase  # type: ignore[attr-defined]
        run.settings = hypothesis.settings(max_examples=40, stateful_step_count=30, deadline=None)
        run("runTest").runTest()
    finally:
        loop.run_until_complete(database.close())
        loop.close()
