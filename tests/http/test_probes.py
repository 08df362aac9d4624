"""Readiness: whoever asks how often, it is found out once a second."""

import asyncio
from collections.abc import Mapping

import pytest

from memoryd.probes import Recent
from memoryd.services import Check

WELL = {"postgresql": Check(True, True, "answers")}


class _World:
    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def ask(self) -> Mapping[str, Check]:
        self.asked += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return WELL


async def test_what_is_known_is_not_asked_again_within_a_second() -> None:
    world = _World()
    recent = Recent(world.ask, clock=lambda: world.now)
    waiting = [asyncio.ensure_future(recent.checks()) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    world.go.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert answers[1:] == [WELL] * 49
    world.now += 0.9
    assert await recent.checks() == WELL
    assert world.asked == 1
    world.now += 0.1
    assert await recent.checks() == WELL
    assert world.asked == 2


async def test_a_failure_is_not_kept_for_longer() -> None:
    world = _World()
    world.go.set()
    world.error = RuntimeError("broken")
    recent = Recent(world.ask, clock=lambda: world.now)
    with pytest.raises(RuntimeError):
        await recent.checks()
    world.error, world.now = None, world.now + 1
    assert await recent.checks() == WELL
