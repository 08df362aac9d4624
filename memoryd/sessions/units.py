"""Units of messages: a call of tools and its results stand or fall together, wherever in the session they are.

A result answers the nearest message before it that made its call, and may be one of several. One whose call is not visible
belongs to no unit: no model takes it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from memoryd.sessions.model import Page, Stored

Group = tuple[Stored, ...]

# A call may have several results: in so many messages behind its first, or a pinned one, others are looked for.
_LATER = 250


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads visible messages in order: ``before(position)`` the last ones below, ``after(position)`` the first ones above that
    are older than the newest page."""

    before: Callable[[int], Awaitable[Page]]
    after: Callable[[int], Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class _Caller:
    """A message that makes calls, and the position of the last message that is known to belong to it."""

    message: Stored
    last: int


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
    message is the one. A call that has a result is given up soon after it: it may have others later still, which are left out.
    """
    wanted = {message.position for message in pinned}
    found = [group for group in groups(page) if not wanted.isdisjoint(message.position for message in group)]
    there = {message.position for group in found for message in group}
    left = [message for message in pinned if message.position not in there]
    results = [message for message in left if answers(message) is not None]
    callers = {message.position: _Caller(message, message.position) for message in left if calls(message)}
    callers |= {caller.message.position: caller for caller in await _callers(reader, results)}
    found += [(message,) for message in left if not calls(message) and answers(message) is None]
    found += await _with_results(reader, callers, page) if callers else []
    return sorted(found, key=lambda group: group[0].position)


async def _callers(reader: Reader, results: Sequence[Stored]) -> list[_Caller]:
    """The visible messages whose calls these results answer: the nearest before each."""
    left = sorted(results, key=lambda one: one.position)
    sought: dict[str, int] = {}
    found: list[_Caller] = []
    before = 0
    while left or sought:
        if not sought:
            before = left[-1].position
            sought[str(answers(left.pop()))] = before
        page = await reader.before(before)
        for message in reversed(page.messages):
            while left and left[-1].position >= message.position:
                result = left.pop()
                sought.setdefault(str(answers(result)), result.position)
            made = [sought.pop(one) for one in calls(message) if one in sought]
            if made:
                found.append(_Caller(message, max(made)))
            if not sought:
                break
        if sought:
            if not page.more:
                break  # nothing is before this page, so what is left has no call in it or before it
            before = page.messages[0].position
    return found


async def _with_results(reader: Reader, callers: Mapping[int, _Caller], page: Sequence[Stored]) -> list[Group]:
    """Each of these messages, by position, with the results of its calls."""
    found: list[Group] = []
    left = sorted(callers)
    while left:
        run = await _answered(reader, callers, left[0], page)
        found += [group for group in groups(run) if group[0].position in callers]
        left = [position for position in left if position > run[-1].position]
    return found


async def _answered(reader: Reader, callers: Mapping[int, _Caller], first: int, page: Sequence[Stored]) -> list[Stored]:
    """The messages from ``first`` on, without gaps: until there is a result of every call of the ``callers`` among them, and all
    that is known to belong to them, and for ``_LATER`` more. To the end where a call has none: it may be anywhere."""
    run, needed, last = [callers[first].message], 1, callers[first].last
    sought = set(calls(run[0]))
    more = not page or page[0].position > first + 1
    while more and len(run) < needed + _LATER:
        read = await reader.after(run[-1].position)
        for message in read.messages:
            run.append(message)
            # Whoever makes a call of the same id has what results come from there on.
            sought -= {answers(message), *calls(message)}
            if caller := callers.get(message.position):
                sought.update(calls(message))
                last = max(last, caller.last)
            if sought or message.position <= last:
                needed = len(run)
        more = read.more
    return run if more else [*run, *(message for message in page if message.position > first)]
