"""The four calls of the demo and the parts of their answers that it shows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypedDict

import httpx

BUDGET_TOKENS = 600
CANDIDATES = 50


class Turn(TypedDict):
    """One row of the conversation."""

    session_id: str
    event_time: str
    role: str
    name: str
    content: str


class Question(TypedDict):
    """A question, the rows that answer it, and the rows that once did."""

    question: str
    query_time: str
    asked_by: str
    shows: str
    evidence: list[int]
    earlier: list[int]


class ArmScore(TypedDict, total=False):
    """Where one arm ranked a hit, from 1 (``None``: by its score only), and with what score of its own."""

    rank: int | None
    score: float | None


class Explanation(TypedDict, total=False):
    """Why a hit is where it is."""

    arms: dict[str, ArmScore]
    temporal: float
    rerank: float | None
    via_neighbour: bool


class Hit(TypedDict, total=False):
    """One recalled memory."""

    id: str
    text: str
    score: float
    event_time: str | None
    speaker: str | None
    explain: Explanation | None


class Shown(TypedDict, total=False):
    """One entry of a context's manifest."""

    id: str
    rendition: str
    tokens: int
    merged: list[str]


class Context(TypedDict):
    """A packed context."""

    text: str
    used_tokens: int
    items: list[Shown]


@dataclass(frozen=True, slots=True)
class Service:
    """The four calls the demo makes, in one space."""

    http: httpx.Client
    space: str

    def _post(self, path: str, body: object) -> httpx.Response:
        response = self.http.post(path, json=body)
        for _ in range(5):
            if response.status_code not in (429, 503):
                break
            time.sleep(min(float(response.headers.get("Retry-After", "1")), 5.0))
            response = self.http.post(path, json=body)
        return response.raise_for_status()

    def create_space(self) -> None:
        """Makes the space unless an earlier run has."""
        response = self.http.post("/v1/spaces", json={"name": self.space})
        if response.status_code != httpx.codes.CONFLICT:
            response.raise_for_status()

    def remember(self, session_id: str, turns: list[Turn]) -> list[str]:
        """Ids of the turns of one session, in order."""
        messages = [
            {
                "role": turn["role"],
                "name": turn["name"],
                "content": turn["content"],
                "event_time": turn["event_time"],
            }
            for turn in turns
        ]
        body = {"messages": messages, "space": self.space, "session_id": session_id}
        return [str(result["id"]) for result in self._post("/v1/memories", body).json()["results"]]

    def recall(self, question: Question) -> tuple[list[Hit], dict[str, float]]:
        """Hits, best first, and milliseconds by stage."""
        body = self._asking(question) | {"explain": True}
        answer = self._post("/v1/recall", body).json()
        return answer["hits"], answer["timings_ms"]

    def context(self, question: Question) -> Context:
        """What fits into the budget."""
        body = self._asking(question) | {"budget_tokens": BUDGET_TOKENS, "tokenizer": "o200k_base"}
        answer: Context = self._post("/v1/context", body).json()
        return answer

    def _asking(self, question: Question) -> dict[str, object]:
        return {
            "query": question["question"],
            "spaces": [self.space],
            "query_time": question["query_time"],
            "limit": CANDIDATES,
        }
