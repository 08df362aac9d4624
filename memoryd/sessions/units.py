"""Units of messages: a call of tools and its results stand or fall together, wherever in the session they are.

A result answers the nearest message before it that made its call, and may be one of several. One whose call is not visible
belongs to no unit: no model takes it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from memoryd.sessions.model import Page, Stored

Group = tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads visible messages in order: ``before(position)`` the last ones below, ``after(position)`` the first ones above that
    are older than the newest page."""

    before: Callable[[int], Awaitable[Page]]
    after: Callable[[int], Awaitable[Page]]


def groups(messages: Iterable[Stored]) -> list[Group]:
    """The units of messages that follow each other, by their first message."""
    caller: dict[str, int] = {}
    made: dict[int, list[Stored]] = {}
    for message in messages:
        answered = answers(message)
        if answered is not None:
            if answered in caller:
                made[caller[answered]].append(message)
            continue
        made[message.position] = [message]
        caller |= dict.fromkeys(calls(message), message.position)
    return [tuple(group) for group in made.values()]


def calls(message: Stored) -> list[str]:
    """The ids of the calls that it makes."""
    found = message.payload.get("tool_calls")
    return [str(call["id"]) for call in found if isinstance(call, dict)] if isinstance(found, list) else []


def answers(message: Stored) -> str | None:
    """The id of the call that it is the result of."""
    return str(message.payload.get("tool_call_id")) if message.payload["role"] == "tool" else None


async def whole(reader: Reader, page: Sequence[Stored], pinned: Sequence[Stored]) -> list[Group]:
    """The units that ``pinned`` are in, each whole; ``page`` is the newest end of the session, without gaps.

    A unit whose call is in the page is whole there. Others are looked for, as far as the session goes: mostly the next
    message is the one.
    """
    wanted = {message.position for message in pinned}
    found = [group for group in groups(page) if not wanted.isdisjoint(message.position for message in group)]
    there = {message.position for group in found for message in group}
    left = [message for message in pinned if message.position not in there]
    results = [message for message in left if answers(message) is not None]
    callers = {message.position: message for message in left if calls(message)}
    callers |= {message.position: message for message in await _callers(reader, results)}
    found += [(message,) for message in left if not calls(message) and answers(message) is None]
    found += await _with_results(reader, callers, page) if callers else []
    return sorted(found, key=lambda group: group[0].position)


async def _callers(reader: Reader, results: Sequence[Stored]) -> list[Stored]:
    """The visible messages whose calls these results answer: the nearest before each."""
    left = sorted(results, key=lambda one: one.position)
    sought: set[str] = set()
    found: list[Stored] = []
    before = 0
    while left or sought:
        if not sought:
            before = left[-1].position
            sought.add(str(answers(left.pop())))
        page = await reader.before(before)
        for message in reversed(page.messages):
            while left and left[-1].position >= message.position:
                sought.add(str(answers(left.pop())))
            made = sought.intersection(calls(message))
            if made:
                found.append(message)
                sought -= made
            if not sought:
                break
        if sought:
            if not page.more:
                break  # nothing is before this page, so what is left has no call in it or before it
            before = page.messages[0].position
    return found


async def _with_results(reader: Reader, callers: Mapping[int, Stored], page: Sequence[Stored]) -> list[Group]:
    """Each of these messages, by position, with the results of its calls: read to the end, for the last may be anywhere."""
    first = min(callers)
    found, after, more = [callers[first]], first, not page or page[0].position > first + 1
    while more:
        read = await reader.after(after)
        found += read.messages
        after, more = found[-1].position, read.more
    found += [message for message in page if message.position > first]
    return [group for group in groups(found) if group[0].position in callers]
