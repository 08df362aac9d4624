"""A random life of one session on a real Valkey, against a model of a few lines: writes, restores, expiry, commits, loss."""

import asyncio
import copy
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memoryd.errors import NotFound, VersionConflict
from memoryd.sessions.model import AutoCommit, Birth, CheckpointWish, Expected, NewMessage
from memoryd.sessions.ports import TenantSettings
from memoryd.stores.redis import Redis
from tests.sessions.conftest import LIMITS, tenant
from tests.sessions.whole import INTERVAL_S, Whole
from tests.stack import Stack

Answer = TypeVar("Answer")
SESSION = "the session"
KEYS = st.sampled_from(["a", "b", "c"])
IDLE_S = 4 * INTERVAL_S


@dataclass
class Model:
    """What a session is: messages, which of them are visible, state, checkpoints in order."""

    head: int = 0
    texts: dict[int, str] = field(default_factory=dict)
    ids: dict[str, list[int]] = field(default_factory=dict)
    visible: list[int] = field(default_factory=list)
    state: dict[str, tuple[int, int]] = field(default_factory=dict)
    version: int = 0
    effects: dict[str, int] = field(default_factory=dict)
    checkpoints: dict[UUID, tuple[list[int], dict[str, tuple[int, int]]]] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)
    auto: AutoCommit | None = None
    written: datetime | None = None

    @property
    def pending(self) -> list[int]:
        return [position for position in self.visible if position not in self.committed]

    def said(self, client_id: str | None) -> int | None:
        """Where a message with this id is visible."""
        return next((one for one in self.ids.get(client_id or "", ()) if one in self.visible), None)

    def check(self, made: UUID, spared: UUID | None = None) -> None:
        self.checkpoints[made] = (list(self.visible), dict(self.state))
        while len(self.checkpoints) > LIMITS.checkpoints:
            del self.checkpoints[next(one for one in self.checkpoints if one not in {made, spared})]


class Objects:
    """In memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, key: str, data: bytes) -> None:
        self.kept[key] = data

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def delete(self, keys: list[str]) -> None:
        for key in keys:
            self.kept.pop(key, None)

    async def clear(self, prefix: str) -> None:
        await self.delete([key for key in self.kept if key.startswith(prefix)])


class Machine(RuleBasedStateMachine):
    """``saved`` is the model as the newest snapshot has it; ``safe``: nothing was written since."""

    redis_url = ""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.redis = Redis(self.redis_url, timeout_s=5, connections=4)
        self.whole = Whole(self.redis, tenant(), Objects())  # type: ignore[arg-type]
        self.model: Model | None = None
        self.saved: Model | None = None
        self.remembered: list[str] = []
        self.auto = AutoCommit.OFF
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.whole.lose_redis())
            self.run(self.redis.close())
            self.loop.close()

    def run(self, work: Coroutine[object, object, Answer]) -> Answer:
        return self.loop.run_until_complete(work)

    @property
    def there(self) -> Model:
        assert self.model is not None
        return self.model

    def alive(self) -> bool:
        return self.model is not None

    @rule(count=st.integers(1, 3), client_id=st.none() | st.sampled_from(["x", "y"]))
    def append(self, count: int, client_id: str | None) -> None:
        model = self.model = self.model or Model()
        texts = [f"m{self.number + n}" for n in range(count)]
        self.number += count
        at = '"recorded_at":"2026-01-01T00:00:00+00:00"'
        messages = [
            NewMessage(client_id if n == 0 else None, None, False, f'{{"role":"user","content":"{text}",{at}}}')
            for n, text in enumerate(texts)
        ]
        done = self.run(self.whole.sessions.append(self.whole.scope, SESSION, messages, Birth(), None))
        known = model.said(client_id)
        for n, (text, placed) in enumerate(zip(texts, done.placed, strict=True)):
            if n == 0 and known is not None:
                assert (placed.position, placed.created) == (known, False)
                continue
            model.written = self.whole.clock.now()
            assert placed.created
            assert placed.position > model.head
            model.head = placed.position
            model.texts[placed.position] = text
            model.visible.append(placed.position)
            if n == 0 and client_id:
                model.ids.setdefault(client_id, []).append(placed.position)

    @rule(key=KEYS, seen=st.sampled_from(["any", "right", "wrong", "absent"]))
    def put_state(self, key: str, seen: str) -> None:
        before = self.model
        model = before or Model()
        held = model.state.get(key)
        expected = {
            "any": Expected(),
            "right": Expected(version=held[0] if held else 7_777),
            "wrong": Expected(version=9_999),
            "absent": Expected(absent=True),
        }[seen]
        self.number += 1
        refused = seen == "wrong" or (seen == "right" and not held) or (seen == "absent" and held)
        work = self.whole.sessions.put_state(self.whole.scope, SESSION, key, self.number, expected, None)
        if refused:
            with pytest.raises(VersionConflict) as conflict:
                self.run(work)
            assert conflict.value.current_version == (held[0] if held else 0)
            return
        version, made = self.run(work)
        assert made == (held is None)
        assert version > model.version
        model.version = version
        model.state[key] = (version, self.number)
        self.model = model

    @precondition(alive)
    @rule(key=KEYS)
    def delete_state(self, key: str) -> None:
        try:
            self.run(self.whole.sessions.delete_state(self.whole.scope, SESSION, key, None, None))
        except NotFound:
            assert key not in self.there.state
        else:
            del self.there.state[key]

    @precondition(alive)
    @rule(key=KEYS)
    def effect(self, key: str) -> None:
        self.number += 1
        done = self.run(self.whole.sessions.record_effect(self.whole.scope, SESSION, key, self.number))
        assert done.created == (key not in self.there.effects)
        assert done.value == self.there.effects.setdefault(key, self.number)

    @precondition(alive)
    @rule()
    def checkpoint(self) -> None:
        made = self.run(self.whole.sessions.checkpoint(self.whole.scope, SESSION, CheckpointWish(None, None, {}), None))
        self.there.check(made.checkpoint_id)

    @precondition(lambda self: self.model is not None and bool(self.model.checkpoints))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        checkpoints = list(self.there.checkpoints)
        self.go_back(checkpoints[data.draw(st.integers(0, len(checkpoints) - 1))])

    @precondition(alive)
    @rule(client_id=st.sampled_from(["x", "y"]))
    def redo(self, client_id: str) -> None:
        """An agent that takes a step back does it again, under the same id."""
        self.checkpoint()
        point = list(self.there.checkpoints)[-1]
        self.append(1, client_id)
        self.go_back(point)
        self.append(1, client_id)

    def go_back(self, one: UUID) -> None:
        model = self.there
        visible, state = model.checkpoints[one]
        done = self.run(self.whole.sessions.restore(self.whole.scope, SESSION, one, None))
        model.check(done.undo, one)
        assert done.set_aside == len(set(model.visible) - set(visible)) or model.head > LIMITS.messages
        model.visible, model.state = list(visible), dict(state)

    @precondition(alive)
    @rule()
    def commit(self) -> None:
        done = self.run(self.whole.commit(self.whole.scope, SESSION))
        assert done.created + done.duplicates == len(self.there.pending)
        self.remember()

    def remember(self) -> None:
        """What is pending is committed."""
        self.remembered += [self.there.texts[position] for position in self.there.pending]
        self.there.committed.update(self.there.pending)

    @rule(auto=st.sampled_from(AutoCommit), of_all=st.booleans())
    def configure(self, auto: AutoCommit, of_all: bool) -> None:
        """When sessions are committed by themselves: all of the tenant, or this one."""
        if of_all:
            self.run(self.whole.lifecycle.configure(self.whole.scope, TenantSettings(auto, IDLE_S)))
            self.auto = auto
        elif self.model is not None:
            work = self.whole.sessions.configure(self.whole.scope, SESSION, ttl_s=None, auto=auto, clear=False, once=None)
            self.run(work)
            self.model.auto = auto

    @precondition(alive)
    @rule()
    def delete(self) -> None:
        """What was committed stays; positions begin again."""
        self.run(self.whole.lifecycle.delete(self.whole.scope, SESSION))
        self.model = self.saved = None

    @precondition(alive)
    @rule(intervals=st.sampled_from([1, 5]))
    def round(self, intervals: int) -> None:
        clock = self.whole.clock
        clock.pass_(INTERVAL_S * intervals)
        report = self.run(self.whole.rounds.run())
        assert report.failed == 0
        # Commits come after snapshots, and are in the next one.
        self.saved = copy.deepcopy(self.model)
        idle = self.there.written is None or clock.now() - self.there.written >= timedelta(seconds=IDLE_S)
        if (self.there.auto or self.auto) is AutoCommit.IDLE and idle:
            self.remember()

    @precondition(alive)
    @rule()
    def expire(self) -> None:
        self.whole.clock.pass_(LIMITS.ttl_s + 1)
        report = self.run(self.whole.rounds.run())
        assert (report.expired, report.failed) == (1, 0)
        page = self.run(self.whole.lifecycle.page(self.whole.scope, user_id=None, agent_id=None, cursor=None, limit=1))
        assert page.sessions == ()
        if (self.there.auto or self.auto) is not AutoCommit.OFF:
            self.remember()
        self.saved = copy.deepcopy(self.model)

    @rule()
    def crash(self) -> None:
        """Redis loses everything."""
        lost = self.model
        self.run(self.whole.lose_redis())
        self.model = copy.deepcopy(self.saved)
        if self.model is not None and lost is not None:
            # No position and no version of what was lost comes again.
            self.model.head = max(self.model.head, lost.head)
            self.model.version = max(self.model.version, lost.version)

    @invariant()
    def is_as_the_model(self) -> None:
        if not hasattr(self, "loop"):
            return
        if self.model is None:
            with pytest.raises(NotFound):
                self.run(self.whole.said(SESSION))
            return
        model, sessions, scope = self.model, self.whole.sessions, self.whole.scope
        page = self.run(sessions.read(scope, SESSION, limit=500))
        assert [(one.position, one.payload["content"]) for one in page.messages] == [
            (position, model.texts[position]) for position in model.visible
        ]
        entries = self.run(sessions.state(scope, SESSION))
        assert {one.key: (one.version, one.value) for one in entries} == model.state
        kept = self.run(sessions.checkpoints(scope, SESSION))
        assert [one.checkpoint_id for one in kept] == list(model.checkpoints)
        assert set(self.whole.memory.texts) == set(self.remembered)


def test_any_life_of_a_session_is_as_the_model_says(stack: Stack) -> None:
    machine = type("Bound", (Machine,), {"redis_url": stack.redis_url})
    run = machine.TestCase  # type: ignore[attr-defined]
    run.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
    run("runTest").runTest()
