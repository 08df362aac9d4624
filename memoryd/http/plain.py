"""Messages to append, read in one go where they are as plain as most are.

A step of an agent is four messages and some thousand characters, and each model of the framework's that it goes through costs
more than the parser. What is plain here becomes what is stored, the same as through the models; these read whatever is not.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import cast

from pydantic import JsonValue as PydanticJson
from pydantic import ValidationError
from pydantic_core import to_json

from memoryd.http.schemas.sessions import MAX_APPEND, AppendIn, SessionMessageIn, sound
from memoryd.http.session_views import Appending, appending, new_message
from memoryd.http.strict import parsed
from memoryd.sessions.model import Birth, NewMessage
from retrieval.filters import JsonValue

_SPEAKERS = ("user", "assistant", "system")
_FIELDS = frozenset({"role", "content", "name", "agent_id", "tool_calls", "tool_call_id", "id"})
_CALL_FIELDS = frozenset({"id", "name", "arguments"})
_MOST_CALLS = 64
# A name or an id that no rule forbids.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:@+-]{0,199}")
_ANY_MESSAGE: PydanticJson = {"role": "user", "content": "-"}


def appending_of(content: bytes, now: datetime) -> Appending:
    """What the body of an append asks for. Raises ``ValidationError``, and ``HTTPException`` as :func:`parsed` does."""
    body = parsed(content)
    return _plainly(body, now.isoformat()) or appending(AppendIn.model_validate(body), now)


def _plainly(body: PydanticJson, recorded_at: str) -> Appending | None:
    """``None`` where it is not plain, or wrong."""
    messages = body.get("messages") if type(body) is dict else None
    if type(body) is not dict or type(messages) is not list or not 0 < len(messages) <= MAX_APPEND:
        return None
    try:
        birth = Birth() if len(body) == 1 else _birth(body)
        return Appending([_new(message, birth.agent_id, recorded_at) for message in messages], birth)
    except ValidationError:
        return None


def _birth(body: Mapping[str, PydanticJson]) -> Birth:
    """By the model, for which any messages will do. Raises ``ValidationError``."""
    found = AppendIn.model_validate({**body, "messages": [_ANY_MESSAGE]})
    return Birth(found.space, found.user_id, found.agent_id, found.ttl_s)


def _new(message: PydanticJson, agent_id: str | None, recorded_at: str) -> NewMessage:
    """Raises ``ValidationError``."""
    given = _given(message) if type(message) is dict else None
    if given is None:
        return new_message(SessionMessageIn.model_validate(message), agent_id, recorded_at)
    agent = given.setdefault("agent_id", agent_id) if agent_id is not None else given.get("agent_id")
    given["recorded_at"] = recorded_at
    return NewMessage(
        cast("str | None", given.get("id")), cast("str | None", agent), pinned=False, payload=to_json(given).decode()
    )


def _given(message: Mapping[str, JsonValue]) -> dict[str, JsonValue] | None:
    """The fields that say something, in the order of the model's; ``None`` where a message is not plain."""
    role, content = message.get("role"), message.get("content")
    if type(content) is str:
        if not content or not _sound(content):
            return None
        given: dict[str, JsonValue] = {"role": role, "content": content}
    elif content is None and "tool_calls" in message:
        given = {"role": role}
    else:
        return None
    if len(message) > len(given):  # most have a role and content, and no more
        if not message.keys() <= _FIELDS or not _named(given, message, "name", "agent_id"):
            return None
        if "tool_calls" in message:
            calls = _calls(message["tool_calls"])
            if calls is None or role != "assistant":
                return None
            given["tool_calls"] = calls
        if not _named(given, message, "tool_call_id", "id"):
            return None
    return given if (role == "tool" if "tool_call_id" in given else role in _SPEAKERS) else None


def _named(given: dict[str, JsonValue], message: Mapping[str, JsonValue], *fields: str) -> bool:
    """Take these over; ``False`` where one is not plain."""
    for field in fields:
        value = message.get(field)
        if value is not None:
            if type(value) is not str or not _PLAIN.fullmatch(value):
                return False
            given[field] = value
    return True


def _calls(calls: JsonValue) -> list[JsonValue] | None:
    """Calls of tools as they are stored; ``None`` where one is not plain, or there is none."""
    if type(calls) is not list or not 0 < len(calls) <= _MOST_CALLS:
        return None
    found: list[JsonValue] = []
    for call in calls:
        if type(call) is not dict or not call.keys() <= _CALL_FIELDS:
            return None
        given: dict[str, JsonValue] = {}
        if not _named(given, call, "id", "name") or len(given) < 2:
            return None
        arguments = call.get("arguments")
        if arguments is not None:
            if not _sound(arguments):
                return None
            given["arguments"] = arguments
        found.append(given)
    return found


def _sound(value: JsonValue) -> bool:
    try:
        sound(cast("PydanticJson", value))
    except ValueError:
        return False
    return True
