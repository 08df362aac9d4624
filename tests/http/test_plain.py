"""What is read in one go is what the models read."""

import json
from datetime import UTC, datetime

import pytest
from fastapi import HTTPException
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from memoryd.http import plain
from memoryd.http.plain import appending_of
from memoryd.http.schemas.sessions import AppendIn
from memoryd.http.session_views import Appending, appending
from memoryd.http.strict import parsed

NOW = datetime(2026, 5, 1, 10, 0, 0, 120_000, tzinfo=UTC)
USER: dict[str, object] = {"role": "user", "content": "hello"}
CALL = {"id": "c-1", "name": "search", "arguments": {"q": ["x", 1.5, None]}}
CALLING: dict[str, object] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
STEP: list[dict[str, object]] = [
    USER,
    CALLING,
    {"role": "tool", "tool_call_id": "c-1", "content": 'found "é" \\ \n'},
    {"role": "assistant", "content": "ok"},
]

_WORDS = st.sampled_from(
    ["a", "c-1", ".", "..", "x/y", "", " ", "é", "a\0", "\ud800", "x" * 200, "x" * 201, "x" * 257, "A.b:7@z"]
)
_ODD = st.sampled_from([None, True, 0, 1.5, [], {}, [1], {"type": "text"}])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_WORD = _WORDS | _ODD
_CALL = st.fixed_dictionaries({}, optional={"id": _WORD, "name": _WORD, "arguments": _JSON, "more": _ODD})
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "wizard"]) | _ODD},
    optional={
        "content": st.text(max_size=8) | _WORD,
        "name": _WORD,
        "agent_id": _WORD,
        "tool_calls": st.lists(_CALL, max_size=3) | _ODD,
        "tool_call_id": _WORD,
        "event_time": st.just("2024-05-01T10:00:00+02:00") | _ODD,
        "metadata": st.dictionaries(st.text(max_size=3), _JSON, max_size=2) | _ODD,
        "id": _WORD,
        "pinned": _ODD,
        "more": _ODD,
    },
)
_BODY = st.fixed_dictionaries(
    {"messages": st.lists(_MESSAGE | st.sampled_from(STEP), max_size=4) | _ODD},
    optional={"space": _WORD, "user_id": _WORD, "agent_id": _WORD, "ttl_s": st.integers(0, 100) | _ODD, "more": _ODD},
)


def _either(body: object) -> tuple[Appending | list[str], Appending | list[str]]:
    """What is asked for, or what is wrong, read here and by the models alone."""
    content = json.dumps(body).encode()
    found: list[Appending | list[str]] = []
    for read in (appending_of, _by_the_models):
        try:
            found.append(read(content, NOW))
        except ValidationError as error:
            found.append([str(one) for one in error.errors(include_url=False, include_context=False)])
    return found[0], found[1]


def _by_the_models(content: bytes, now: datetime) -> Appending:
    return appending(AppendIn.model_validate(parsed(content)), now)


@given(_BODY)
@example({"messages": STEP})
@example({"messages": [USER, {**USER, "agent_id": "b"}], "agent_id": "a", "user_id": "u", "ttl_s": 60})
@example({"messages": [{**CALLING, "content": "", "tool_calls": [CALL] * 65}]})
@example({"messages": [{**CALLING, "tool_calls": [{**CALL, "arguments": None}]}]})
@example({"messages": [{"role": "user", "content": None, "tool_calls": [CALL]}]})
@example({"messages": [{"role": "assistant", "tool_calls": [{**CALL, "arguments": "\0"}]}]})
@example({"messages": [{"role": "user", "name": "n"}, {"content": "x", "name": "n"}, {"content": "x"}]})
@example({"messages": [USER] * 501})
@example({"messages": [{**CALLING, "tool_calls": [{**CALL, "arguments": {"q": "\0"}}]}]})
def test_a_body_read_in_one_go_is_what_the_models_make_of_it(body: object) -> None:
    quick, slow = _either(body)
    assert quick == slow


def test_a_step_of_an_agent_is_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the models were asked")

    for one in ("appending", "new_message"):
        monkeypatch.setattr(plain, one, refused)
    read = appending_of(json.dumps({"messages": STEP}).encode(), NOW)
    at = "2026-05-01T10:00:00.120000+00:00"
    assert [json.loads(one.payload) for one in read.messages] == [
        {name: value for name, value in message.items() if value is not None} | {"recorded_at": at} for message in STEP
    ]


@pytest.mark.parametrize(
    "body", ['{"messages": [], "messages": []}', '{"messages": [{"role": "user", "role": "user"}]}', "NaN", "{"]
)
def test_what_can_be_read_in_two_ways_is_refused(body: str) -> None:
    with pytest.raises(HTTPException, match="400"):
        appending_of(body.encode(), NOW)
