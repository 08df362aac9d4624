"""The beginnings of messages that are too large for a window: of each of a unit as much as it may have."""

from collections.abc import Sequence
from dataclasses import replace

from memoryd.sessions.model import Stored
from memoryd.sessions.rendering import arguments_of, content_of, indented, rendered
from memoryd.sessions.units import Group
from retrieval.filters import JsonValue
from retrieval.packing.lines import LineCounter

_CUT = " …"
# No tokenizer of ours makes a token of more characters than this of ordinary text: more need not be counted.
_LONGEST_TOKEN = 8
# A beginning that says less says nothing.
_LEAST_TOKENS = 8


def beginnings(unit: Group, room: int, counter: LineCounter) -> Group:
    """The messages of a unit within about ``room`` tokens, what is large of them cut; none where there is no room for that.

    A message says its content and the arguments of its calls: what is small of all these is whole, and the rest has equal parts.
    What is cut is a text, also where it was something else.
    """
    said = [(content_of(one.payload), *arguments_of(one.payload)) for one in unit]
    bare = [_with(one, [""] * len(texts)) for one, texts in zip(unit, said, strict=True)]
    left = room - sum(counter.block(rendered(one)) for one in bare)
    places = [(number, place) for number, texts in enumerate(said) for place in range(len(texts))]
    costs = {at: counter.count(indented(said[at[0]][at[1]])) for at in places}
    parts: list[list[str | None]] = [[None] * len(texts) for texts in said]
    for done, at in enumerate(sorted(places, key=costs.__getitem__)):
        number, place = at
        part = left // (len(places) - done)
        if costs[at] > part:
            if part < _LEAST_TOKENS:
                return ()
            parts[number][place] = _beginning(said[number][place], part, counter)
        left -= min(part, costs[at])
    return tuple(
        _with(one, some) if any(part is not None for part in some) else one for one, some in zip(unit, parts, strict=True)
    )


def _beginning(text: str, room: int, counter: LineCounter) -> str:
    most = min(len(text), room * _LONGEST_TOKEN)
    while (used := counter.count(indented(text[:most]))) >= room:
        most = min(most - 1, int(most * min(0.95, room / used)))
    return text[:most].rstrip() + _CUT


def _with(message: Stored, parts: Sequence[str | None]) -> Stored:
    """With these in place of its content and of its calls' arguments; ``None`` changes nothing."""
    payload: dict[str, JsonValue] = dict(message.payload)
    content, *arguments = parts
    if content is not None and "content" in payload:
        payload["content"] = content
    calls = payload.get("tool_calls")
    if isinstance(calls, list):
        told = iter(arguments)
        payload["tool_calls"] = [
            one if not isinstance(one, dict) or (part := next(told)) is None else one | {"arguments": part} for one in calls
        ]
    return replace(message, payload=payload)
