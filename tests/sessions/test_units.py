"""Calls and their results as units, found wherever in a session they are."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from memoryd.sessions.model import Page, Session, Stored
from memoryd.sessions.ranges import parse
from memoryd.sessions.units import Reader, answers, calls, groups, whole
from retrieval.filters import JsonValue
from tests.sessions.conftest import Clock

AT = Clock().now()
SESSION = Session("s", "i", "default", None, (), 60, AT, AT, AT, AT, 0, 0, 0, 0, parse("1:"), (), 1, None, None)


def _session_of(turns: Sequence[tuple[str, frozenset[str]]]) -> list[Stored]:
    """Messages, of which each result answers a call that was made, several the same one at times."""
    messages, made = [], set[str]()
    for position, (role, ids) in enumerate(turns, 1):
        payload: dict[str, JsonValue] = {"role": role}
        if role == "assistant":
            payload["tool_calls"] = [{"id": one, "name": "look", "arguments": {}} for one in sorted(ids)]
            made |= ids
        elif role == "tool":
            (call,) = ids
            payload["tool_call_id"] = call if call in made else "nobody's"
        messages.append(Stored(position, payload))
    return messages


def _reader(messages: Sequence[Stored], step: int, cut: int) -> Reader:
    async def before(position: int) -> Page:
        found = [one for one in messages if one.position < position]
        return Page(SESSION, tuple(found[-step:]), len(found) > step)

    async def after(position: int) -> Page:
        found = [one for one in messages[:cut] if one.position > position]
        return Page(SESSION, tuple(found[:step]), len(found) > step)

    return Reader(before, after)


IDS = st.sampled_from("abc")
TURNS = st.one_of(
    st.tuples(st.just("user"), st.just(frozenset[str]())),
    st.tuples(st.just("assistant"), st.frozensets(IDS, max_size=3)),
    st.tuples(st.just("tool"), IDS.map(lambda one: frozenset({one}))),
)


@given(
    turns=st.lists(TURNS, max_size=40),
    pins=st.sets(st.integers(1, 40), max_size=5),
    cut=st.integers(0, 40),
    step=st.integers(1, 5),
)
def test_units_are_found_whole_wherever_the_page_begins(
    turns: list[tuple[str, frozenset[str]]], pins: set[int], cut: int, step: int
) -> None:
    messages = _session_of(turns)
    pinned = [one for one in messages if one.position in pins]
    found = asyncio.run(whole(_reader(messages, step, cut), messages[cut:], pinned))
    assert found == [group for group in groups(messages) if any(one in pinned for one in group)]


def test_a_result_belongs_to_the_nearest_call_before_it() -> None:
    messages = _session_of(
        [("tool", frozenset("a")), ("assistant", frozenset("a")), ("assistant", frozenset("a")), ("tool", frozenset("a"))]
    )
    assert [[one.position for one in group] for group in groups(messages)] == [[2], [3, 4]]
    assert (calls(messages[1]), answers(messages[3]), answers(messages[1])) == (["a"], "a", None)


def test_of_a_long_session_as_much_is_read_as_its_pinned_units_need() -> None:
    call, result, word = ("assistant", frozenset("a")), ("tool", frozenset("a")), ("user", frozenset[str]())
    messages = _session_of([call, result, *([word] * 2_000), call, result, *([word] * 500), result, *([word] * 5_000)])
    whole_reader = _reader(messages, 200, 7_000)
    read = []

    async def after(position: int) -> Page:
        read.append(position)
        return await whole_reader.after(position)

    def found(*pinned: int) -> list[list[int]]:
        read.clear()
        wanted = [messages[position - 1] for position in pinned]
        return [
            [one.position for one in unit]
            for unit in asyncio.run(whole(Reader(whole_reader.before, after), messages[7_000:], wanted))
        ]

    assert (found(2), len(read)) == ([[1, 2]], 2)
    # What is pinned is shown, however late it came.
    assert (found(2, 2_505), len(read)) == ([[1, 2], [2_003, 2_004, 2_505]], 6)
    assert (found(2_003), len(read)) == ([[2_003, 2_004]], 2)
