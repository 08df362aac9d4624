"""Whose turn it is."""

import asyncio
from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from memoryd.jobs.dispatcher import Dispatcher
from memoryd.jobs.turns import Turns

A, B, C = (UUID(int=n) for n in (1, 2, 3))


def test_the_tenant_with_fewest_turns_under_way_is_next_then_the_one_that_waits_for_longest() -> None:
    turns = Turns()
    for one in (A, A, B):
        turns.come(one)
    assert (turns.take(), len(turns)) == (A, 1)
    turns.come(A)
    assert (turns.take(), turns.take(), turns.take()) == (B, A, None)
    for one in (A, C, B):
        turns.come(one)
    assert turns.take() == C  # A has two under way, B one
    turns.end(A)
    turns.end(A)
    assert turns.take() == A  # now none


def test_after_its_turn_a_tenant_stands_behind_those_that_came_meanwhile() -> None:
    turns = Turns()
    turns.come(A)
    assert turns.take() == A
    turns.come(A)
    assert not turns.others_wait(A)
    turns.come(B)
    assert turns.others_wait(A)
    turns.end(A)
    assert (turns.take(), turns.take()) == (B, A)


def test_who_has_as_many_turns_under_way_waits_for_nothing() -> None:
    turns = Turns()
    for one in (A, B):
        turns.come(one)
        assert turns.take() == one
    for one in (A, B):  # each may have another job
        turns.come(one)
    assert not turns.others_wait(A)
    assert not turns.others_wait(B)
    turns.come(C)
    assert turns.others_wait(A)
    assert (turns.take(), turns.take()) == (C, A)
    assert turns.others_wait(A)  # B has one, and A two
    assert not turns.others_wait(C)


@given(st.lists(st.sampled_from((A, B, C)), max_size=60), st.integers(1, 4))
def test_nobody_has_two_turns_while_another_waits_for_its_first(arrivals: list[UUID], slots: int) -> None:
    """Tenants come in any order and want more always: until its turn, each other has one turn a slot at most, and one more."""
    turns, running = Turns(), list[UUID]()
    passed: dict[UUID, Counter[UUID]] = {}
    for one in [*arrivals, *[A] * 12]:
        turns.come(one)
        passed.setdefault(one, Counter())
        if len(running) == slots:
            over = running.pop(0)
            turns.come(over)
            turns.end(over)
            passed.setdefault(over, Counter())
        while len(running) < slots and (taken := turns.take()) is not None:
            running.append(taken)
            passed.pop(taken, None)
            for waits in passed.values():
                waits[taken] += 1
    assert all(times <= slots + 1 for waits in passed.values() for times in waits.values())


class Waiting:
    """Jobs of tenants, each of so many slices; a slice waits for the test."""

    def __init__(self, slots: int) -> None:
        self.left: dict[UUID, list[int]] = {}
        self.order: list[UUID] = []
        self.gate = asyncio.Semaphore(0)
        self.begun = asyncio.Semaphore(0)
        self.dispatcher = Dispatcher[tuple[UUID, int]](self.claim, self.work, slots=slots)

    def add(self, tenant_id: UUID, *slices: int) -> None:
        self.left.setdefault(tenant_id, []).extend(slices)
        for _ in slices:
            self.dispatcher.remind(tenant_id)

    async def claim(self, tenant_id: UUID) -> tuple[UUID, int] | None:
        jobs = self.left.get(tenant_id)
        return (tenant_id, jobs.pop(0)) if jobs else None

    async def work(self, held: tuple[UUID, int]) -> None:
        tenant_id, slices = held
        self.order.append(tenant_id)
        self.begun.release()
        await self.gate.acquire()
        if slices > 1:
            self.left[tenant_id].append(slices - 1)


async def _slice(waiting: Waiting) -> None:
    """One slice ends, and the next one begins."""
    waiting.gate.release()
    await waiting.begun.acquire()


async def test_fifty_jobs_of_one_tenant_delay_anothers_one_job_by_no_more_than_a_slice() -> None:
    for slots in (1, 2):
        waiting = Waiting(slots)
        waiting.add(A, *[10] * 50)
        async with asyncio.timeout(20), waiting.dispatcher.running():
            for _ in range(slots):
                await waiting.begun.acquire()
            for _ in range(7):
                await _slice(waiting)
            assert set(waiting.order) == {A}
            before = len(waiting.order)
            waiting.add(B, 3)
            for _ in range(6):
                await _slice(waiting)
        # The next slot that became free was B's; with one slot they alternate.
        assert waiting.order[before] == B
        assert waiting.order[before:].count(B) == 3
        if slots == 1:
            assert waiting.order[before:] == [B, A, B, A, B, A]


async def test_one_tenants_failing_turns_leave_the_slots_to_the_others() -> None:
    done: list[UUID] = []
    both = asyncio.Event()

    async def claim(tenant_id: UUID) -> UUID | None:
        if tenant_id == A:
            raise OSError("the database is away")
        return tenant_id if not done else None

    async def work(tenant_id: UUID) -> None:
        done.append(tenant_id)
        both.set()

    dispatcher = Dispatcher[UUID](claim, work, slots=1)
    async with asyncio.timeout(20), dispatcher.running():
        dispatcher.remind(A)
        dispatcher.remind(B)
        await both.wait()
    assert done == [B]
