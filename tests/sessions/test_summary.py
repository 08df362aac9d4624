"""Summaries of long sessions, and what a language model that fails in between leaves of them."""

from collections.abc import Mapping, Sequence

import pytest

from memoryd.errors import ChatUnavailable
from memoryd.sessions.ports import Target
from memoryd.sessions.summary import BLOCK, Summary, loaded
from memoryd.stores.redis import Redis
from tests.sessions.conftest import tenant
from tests.sessions.whole import Whole


class Writer:
    """A language model that fails when told to."""

    def __init__(self) -> None:
        self.fails = False
        self.asked: list[str] = []

    async def write(self, earlier: str, turns: Sequence[Mapping[str, str]], *, tokens: int) -> str:
        self.asked.append(earlier)
        if self.fails:
            raise ChatUnavailable("down")
        return f"Part {len(self.asked)}."


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def whole(redis: Redis, writer: Writer) -> Whole:
    return Whole(redis, tenant(), None, writer=writer)


def sentences(first: int, blocks: int) -> list[str]:
    return [f"A sentence that says something, number {number}." for number in range(first, first + blocks * BLOCK)]


async def made(whole: Whole, session_id: str) -> Summary:
    return loaded(await whole.progress.summary(whole.scope, Target(session_id, whole.clock.now())))


async def test_a_session_of_any_length_is_summarised_to_its_end(whole: Whole) -> None:
    """Also where the worker is killed after a few blocks."""
    for first in range(0, 75 * BLOCK, 25 * BLOCK):
        await whole.say("s", *sentences(first, 25))
    assert not await whole.summaries(whole.scope, "s")
    assert 0 < (await made(whole, "s")).covers < 75 * BLOCK
    report = await whole.rounds.summarise()
    assert (report.summarised, report.failed) == (1, 0)
    assert (await made(whole, "s")).covers == 75 * BLOCK
    assert (await whole.rounds.summarise()).summarised == 0


async def test_a_model_that_failed_goes_on_from_the_extract(whole: Whole, writer: Writer) -> None:
    await whole.say("s", *sentences(0, 1))
    await whole.rounds.summarise()
    writer.fails = True
    await whole.say("s", *sentences(BLOCK, 1))
    await whole.rounds.summarise()
    failed = await made(whole, "s")
    assert (failed.text, failed.model_failed) == (None, True)
    writer.fails = False
    await whole.say("s", *sentences(2 * BLOCK, 1))
    await whole.rounds.summarise()
    again = await made(whole, "s")
    assert (again.text, again.model_failed) == ("Part 3.", False)
    assert writer.asked[:2] == ["", "Part 1."]
    assert writer.asked[2].splitlines() == [f"{line.time[:10]} user: {line.text}" for line in failed.lines]


async def test_a_model_that_fails_is_left_alone_for_the_rest_of_the_round(whole: Whole, writer: Writer) -> None:
    writer.fails = True
    names = [f"s{number}" for number in range(30)]
    for name in names:
        await whole.say(name, *sentences(0, 2))
    report = await whole.rounds.summarise()
    assert (report.summarised, report.failed) == (30, 0)
    assert 1 <= len(writer.asked) <= 4  # those that were being asked when the first one failed
    assert all([(await made(whole, name)).model_failed for name in names])
    writer.asked.clear()
    await whole.say("s0", *sentences(2 * BLOCK, 1))
    await whole.rounds.summarise()
    assert len(writer.asked) == 1
