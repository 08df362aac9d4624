"""A random life of a tenant's memories and models on a real PostgreSQL, against a model of one dictionary.

Whatever is written, deleted, erased, crashes and is moved: nothing is lost, there twice, back from the dead or another model's,
and every recall answers from the one generation that serves.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import TypeVar
from uuid import UUID

import hypothesis
import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memoryd.errors import Conflict, GateFailed
from memoryd.generations.model import ScopeKind, State
from tests.generations.tiny import Tiny
from tests.generations.world import Crash, World, new_world
from tests.stack import Stack

Answer = TypeVar("Answer")

EXAMPLES = 12
A, B, C = Tiny("a", 8), Tiny("b", 12), Tiny("c", 5)
MODELS = {one.card.name: one for one in (A, B, C)}
TEXTS = st.sampled_from([f"{word} {n}" for word in ("river", "stone", "heron") for n in range(4)])
CALLS = st.sampled_from(["page", "store", "advanced", "caught_up", "moved", "gap", "close_gap", "erase", "purged", "release"])


class Machine(RuleBasedStateMachine):
    loop: asyncio.AbstractEventLoop
    world: World

    @initialize()
    def begin(self) -> None:
        self.tenant = self.run(self.world.tenant())
        self.live: dict[UUID, str] = {}
        self.deleted: dict[UUID, str] = {}
        self.states: dict[int, State] = {}
        self.model: dict[int, Tiny] = {}
        self.serving = 1
        self.before: dict[int, int | None] = {}

    def run(self, work: Coroutine[object, object, Answer]) -> Answer:
        return self.loop.run_until_complete(work)

    def pick(self, number: int) -> UUID:
        return sorted(self.live)[number % len(self.live)]

    def own(self, *states: State) -> list[int]:
        return [number for number, state in self.states.items() if state in states]

    def look(self) -> None:
        """What the worker did to the states."""
        self.states = self.run(self.tenant.states())

    # Memories

    @rule(texts=st.lists(TEXTS, min_size=1, max_size=4, unique=True))
    def say(self, texts: list[str]) -> None:
        new = [text for text in texts if text not in self.live.values()]
        if new:
            self.live |= dict(zip(self.run(self.tenant.say(*new)), new, strict=True))

    @precondition(lambda self: self.live)
    @rule(number=st.integers(0, 99), text=TEXTS)
    def edit(self, number: int, text: str) -> None:
        if text not in self.live.values():
            self.run(self.tenant.edit(self.pick(number), text=text))
            self.live[self.pick(number)] = text

    @precondition(lambda self: self.live)
    @rule(number=st.integers(0, 99), topic=st.sampled_from(["x", "y"]))
    def describe(self, number: int, topic: str) -> None:
        """A revision that says the same, so that its vectors are copied."""
        self.run(self.tenant.edit(self.pick(number), topics=(topic,)))

    @precondition(lambda self: self.live)
    @rule(number=st.integers(0, 99), purge=st.booleans())
    def remove(self, number: int, purge: bool) -> None:
        self.run(self._remove(self.pick(number), purge=purge))

    async def _remove(self, memory: UUID, *, purge: bool) -> None:
        await self.tenant.delete(memory, purge=purge)
        text = self.live.pop(memory)
        if not purge:
            self.deleted[memory] = text

    @precondition(lambda self: self.deleted)
    @rule(number=st.integers(0, 99))
    def bring_back(self, number: int) -> None:
        memory = sorted(self.deleted)[number % len(self.deleted)]
        if self.deleted[memory] in self.live.values():
            return
        history = self.run(self.world.reader.history(self.tenant.scope, memory, before=None, limit=2))
        revert = self.world.revise.revert(
            self.tenant.scope, memory, history[1].revision, reason=None, if_match=None, idempotency=None
        )
        self.run(revert)
        self.live[memory] = self.deleted.pop(memory)

    # The process

    @rule()
    def restart(self) -> None:
        self.run(self.world.shelf.close())
        self.world.restart()

    @rule(name=st.sampled_from(["b", "c"]))
    def lose_a_model(self, name: str) -> None:
        """It cannot be loaded for a while."""
        self.world.shop.out.add(name)

    @rule()
    def find_the_models(self) -> None:
        self.world.shop.out.clear()

    # The worker

    @rule()
    def work(self) -> None:
        self.run(self.world.work())
        self.look()

    @rule(call=CALLS, times=st.integers(1, 3))
    def crash(self, call: str, times: int) -> None:
        """A worker that is killed before it does something for the so manyth time."""
        left = times

        async def kill(name: str) -> None:
            nonlocal left
            left -= name == call
            if not left:
                raise Crash

        self.world.expire()
        try:
            self.run(self.world.rebuild(kill).run())
        except Crash:
            self.restart()
        self.look()

    @precondition(lambda self: self.live)
    @rule(number=st.integers(0, 99), change=st.sampled_from(["edit", "describe", "delete", "purge"]), text=TEXTS)
    def between_reading_and_storing(self, number: int, change: str, text: str) -> None:
        """A worker has read an item and embeds it, and before it stores the vector the item is changed, or gone."""
        memory, changed = self.pick(number), False

        async def interfere(name: str) -> None:
            nonlocal changed
            if name != "store" or changed:
                return
            changed = True
            if change == "describe":
                await self.tenant.edit(memory, topics=("between",))
            elif change == "edit" and text not in self.live.values():
                await self.tenant.edit(memory, text=text)
                self.live[memory] = text
            elif change in ("delete", "purge"):
                await self._remove(memory, purge=change == "purge")

        self.world.expire()
        self.run(self.world.rebuild(interfere).run())
        self.look()

    # Generations

    @precondition(lambda self: not self.own(State.BUILDING, State.CATCHING_UP, State.VERIFYING))
    @rule(name=st.sampled_from(["b", "c"]))
    def create(self, name: str) -> None:
        used = {self.model[number].card.name for number in self.own(State.LIVE, State.DRAINING)}
        if name in used:
            return
        made = self.run(self.world.generations.create(self.tenant.actor, name, ScopeKind.TENANT, knowledge_base=None)).generation
        self.states[made.number], self.model[made.number] = made.state, MODELS[name]

    @precondition(lambda self: self.own(State.VERIFYING, State.DRAINING))
    @rule(number=st.integers(0, 99), force=st.booleans())
    def cut_over(self, number: int, force: bool) -> None:
        candidates = self.own(State.VERIFYING, State.DRAINING)
        new = candidates[number % len(candidates)]
        # To what lacks vectors one can only be forced to go, and then they are missing: that is what the reason is for.
        if force and self.run(self.world.generations.get(self.tenant.actor, new)).gaps:
            return
        if self.model[new].card.name in self.world.shop.out:
            return
        try:
            self.run(self.world.generations.cut_over(self.tenant.actor, new, forced="a drill" if force else None))
        except (GateFailed, Conflict):
            return
        live = self.own(State.LIVE)
        self.before[new] = live[0] if live else None
        self.look()
        self.serving = new

    @precondition(lambda self: self.own(State.LIVE))
    @rule()
    def roll_back(self) -> None:
        (live,) = self.own(State.LIVE)
        back = self.goes_back_to(live)
        if back is not None and self.model[back].card.name in self.world.shop.out:
            return
        try:
            self.run(self.world.generations.roll_back(self.tenant.actor, live, forced=None))
        except Conflict:
            return
        self.look()
        self.serving = 1 if back is None else back

    def goes_back_to(self, live: int) -> int | None:
        """The nearest of what it replaced that is written to; ``None``: the installation's."""
        seen, back = {live}, self.before[live]
        while back is not None and back not in seen and self.states[back] is State.RETIRED:
            seen.add(back)
            back = self.before[back]
        return None if back in seen else back

    @precondition(lambda self: self.own(State.BUILDING, State.CATCHING_UP, State.VERIFYING, State.DRAINING))
    @rule(number=st.integers(0, 99))
    def retire(self, number: int) -> None:
        candidates = self.own(State.BUILDING, State.CATCHING_UP, State.VERIFYING, State.DRAINING)
        self.run(self.world.generations.retire(self.tenant.actor, candidates[number % len(candidates)]))
        self.look()

    @rule()
    def pause_and_go_on(self) -> None:
        for number in self.own(State.BUILDING, State.CATCHING_UP):
            self.run(self.world.generations.pause(self.tenant.actor, number))
            self.world.expire()
            self.run(self.world.rebuild(_nothing).run())
            assert self.run(self.tenant.states())[number] is self.states[number]
            self.run(self.world.generations.resume(self.tenant.actor, number))

    # What always holds

    @invariant()
    def recall_finds_what_is_there_from_one_generation(self) -> None:
        model = A if self.serving == 1 else self.model[self.serving]
        if model.card.name in self.world.shop.out and not self.ready(self.serving):
            return  # nobody can ask
        ready = self.ready(self.serving)
        for text in sorted(self.live.values())[:1] or ["nothing"]:
            found = self.run(self.tenant.found(text))
            assert sorted(found) == sorted(self.live.values())
            assert not self.live or found[0] == text
        # Only a process that had not loaded the model yet may answer from what was there before.
        assert set(self.world.asked) <= {self.serving} or not ready

    @invariant()
    def every_vector_is_right_and_none_is_missing(self) -> None:
        every, has = self.tenant.stored(1, A)
        assert has == every
        for number, state in self.states.items():
            every, has = self.tenant.stored(number, self.model[number])
            gaps = self.run(self.world.generations.get(self.tenant.actor, number)).gaps
            if state in (State.VERIFYING, State.LIVE, State.DRAINING) and not gaps:
                assert has == every
            if number == self.serving:
                assert has >= every

    def ready(self, number: int) -> bool:
        if number == 1:
            return True
        generation = self.run(self.world.generations.get(self.tenant.actor, number)).generation
        return self.world.shelf.ready(generation) is not None

    def teardown(self) -> None:
        self.world.shop.out.clear()
        self.run(self.world.shelf.close())
        self.world.restart()
        if not hasattr(self, "tenant"):
            return
        with psycopg.connect(self.world.superuser_url) as connection:
            connection.execute("DELETE FROM memoryd.tenants WHERE tenant_id = %s", (self.tenant.scope.tenant_id,))
        self.run(self.world.work())
        self.run(self.world.work())


async def _nothing(name: str) -> None: ...


@pytest.fixture(scope="module")
def running(stack: Stack) -> Iterator[tuple[asyncio.AbstractEventLoop, World]]:
    loop = asyncio.new_event_loop()
    world = loop.run_until_complete(new_world(stack, "generations_machine", [A, B, C]))
    yield loop, world
    loop.run_until_complete(world.shelf.close())
    loop.run_until_complete(world.database.close())
    loop.close()


@pytest.mark.slow
def test_nothing_is_lost_doubled_resurrected_or_mis_embedded(
    running: tuple[asyncio.AbstractEventLoop, World],
) -> None:
    loop, world = running
    machine = type("Bound", (Machine,), {"loop": loop, "world": world})
    run = machine.TestCase  # type: ignore[attr-defined]
    run.settings = hypothesis.settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None)
    run("runTest").runTest()
