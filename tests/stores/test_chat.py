"""What a language model's endpoint answers, and whether it was the text or the endpoint."""

import json

import httpx
import pytest

from memoryd.errors import ChatRefused, ChatUnavailable
from memoryd.stores.chat import ChatSummaryWriter

TURNS = [{"speaker": "user", "time": "2026-05-01", "text": "hello"}]


def writer(answer: httpx.Response | Exception) -> ChatSummaryWriter:
    """One whose endpoint answers this."""

    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/chat/completions"
        assert "hello" in json.loads(request.content)["messages"][1]["content"]
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = ChatSummaryWriter("http://chat.test/v1", model="m", key=None, timeout_s=1)
    made._client = httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url="http://chat.test/v1/")
    return made


def said(content: object) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": content}}]})


async def test_the_text_of_an_answer() -> None:
    assert await writer(said(" They met. \n")).write("", TURNS, tokens=9) == "They met."


@pytest.mark.parametrize("answer", [httpx.Response(400), httpx.Response(413), httpx.Response(422), said(""), said(None)])
async def test_a_text_that_is_refused(answer: httpx.Response) -> None:
    with pytest.raises(ChatRefused):
        await writer(answer).write("", TURNS, tokens=9)


@pytest.mark.parametrize(
    "answer",
    [
        *map(httpx.Response, (401, 403, 404, 429, 500, 503)),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"choices": []}),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("away"),
    ],
)
async def test_an_endpoint_that_fails(answer: httpx.Response | Exception) -> None:
    with pytest.raises(ChatUnavailable) as error:
        await writer(answer).write("", TURNS, tokens=9)
    assert not isinstance(error.value, ChatRefused)
