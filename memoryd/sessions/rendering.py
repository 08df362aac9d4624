"""Messages as text. Each begins a line with its role; what it says cannot begin another, for its further lines are indented."""

import json
from collections.abc import Mapping

from memoryd.sessions.commit import speaker_of, text_of
from memoryd.sessions.model import Stored
from retrieval.filters import JsonValue

# More than stands before the calls of a message, so that no content looks like one of those either.
_INDENT = "    "
# Characters: what is longer of a part that is no text is an image or a file, which no window has room for.
_SHORT_PART = 300


def rendered(message: Stored) -> str:
    """Who, what, and the calls it makes."""
    payload = message.payload
    role, who = str(payload["role"]), speaker_of(payload)
    head = role if who == role else f"{role} ({who})"
    answered = payload.get("tool_call_id")
    if answered:
        head += f" [{answered}]"
    lines = [f"{head}: {indented(content_of(payload))}".rstrip()]
    for call, told in zip(_calls(payload), arguments_of(payload), strict=True):
        lines.append(f"  calls {call['name']}({indented(told)}) [{call['id']}]")
    return "\n".join(lines)


def content_of(payload: Mapping[str, JsonValue]) -> str:
    """What a message says; parts that are not text as the JSON that they are, or when that is long by what they are."""
    content = payload.get("content")
    return "\n".join(map(_part, content)) if isinstance(content, list) else text_of(payload)


def arguments_of(payload: Mapping[str, JsonValue]) -> list[str]:
    """What a message calls tools with, a text a call."""
    given = [call.get("arguments") for call in _calls(payload)]
    return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in given]


def indented(text: str) -> str:
    """Its further lines moved to the right."""
    first, *others = text.splitlines() or [""]
    return "\n".join([first, *(f"{_INDENT}{line}" if line else "" for line in others)])


def _calls(payload: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    calls = payload.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _part(part: JsonValue) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    told = json.dumps(part, ensure_ascii=False)
    if len(told) <= _SHORT_PART:
        return told
    kind = part.get("type") if isinstance(part, dict) else None
    return f"[{kind if isinstance(kind, str) else 'a part'}, {len(told):,} characters]"
