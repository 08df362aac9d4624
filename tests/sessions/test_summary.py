"""Summaries of long sessions, and what a language model that fails in between leaves of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from memoryd.errors import ChatRefused, ChatUnavailable
from memoryd.sessions.ports import Target
from memoryd.sessions.summary import BLOCK, Summary, loaded
from memoryd.stores.redis import Redis
from tests.sessions.conftest import LIMITS, tenant
from tests.sessions.whole import Whole


class Writer:
    """A language model that fails when told to, and refuses more characters than it takes."""

    def __init__(self) -> None:
        self.fails = False
        self.most = 10**6
        self.asked: list[str] = []

    async def write(self, earlier: str, turns: Sequence[Mapping[str, str]], *, tokens: int) -> str:
        self.asked.append(earlier)
        if sum(len(one["text"]) for one in turns) > self.most:
            raise ChatRefused("too long")
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


def beside(whole: Whole, count: int) -> list[Whole]:
    """Other tenants of the same worker, all after the first."""
    others = [Whole(whole.redis, tenant(), None, writer=whole.writer) for _ in range(count)]
    whole.tenants.some += [one.scope.tenant_id for one in others]
    return others


async def test_a_block_that_the_model_refuses_costs_only_itself_the_models_text(whole: Whole, writer: Writer) -> None:
    writer.most = 5_000
    (other,) = beside(whole, 1)
    await whole.say("s", *[f"Large output, part {number}. " * 40 for number in range(BLOCK)])
    await whole.say("t", *sentences(0, 1))
    await other.say("u", *sentences(0, 1))
    await whole.rounds.summarise()
    refused = await made(whole, "s")
    assert (refused.text, refused.model_failed, bool(refused.lines)) == (None, True, True)
    for one, name in ((whole, "t"), (other, "u")):
        assert (await made(one, name)).text is not None
    # The next block goes on from the extract.
    await whole.say("s", *sentences(0, 1))
    await whole.rounds.summarise()
    again = await made(whole, "s")
    assert (again.text is not None, again.model_failed, again.covers) == (True, False, 2 * BLOCK)


async def test_of_a_long_message_the_model_is_told_the_beginning(redis: Redis, writer: Writer) -> None:
    large = Whole(redis, tenant(), None, writer=writer, limits=replace(LIMITS, message_bytes=100_000, session_bytes=10**6))
    writer.most = BLOCK * 5_000
    await large.say("s", *["A sentence that goes on. " * 3_000] * BLOCK)
    await large.rounds.summarise()
    assert (await made(large, "s")).text == "Part 1."


async def test_a_failure_is_the_tenants_until_several_have_met_it(whole: Whole, writer: Writer) -> None:
    tenants = [whole, *beside(whole, 4)]
    writer.fails = True
    for one in tenants:
        await one.say("s", *sentences(0, 2))
    await whole.rounds.summarise()
    assert len(writer.asked) == 3
    assert all([(await made(one, "s")).model_failed for one in tenants])
    writer.fails = False
    for one in tenants:
        await one.say("s", *sentences(2 * BLOCK, 1))
    await whole.rounds.summarise()
    assert not any([(await made(one, "s")).model_failed for one in tenants])
