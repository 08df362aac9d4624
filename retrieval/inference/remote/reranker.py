""":class:`retrieval.ports.Reranker` over servers that speak text-embeddings-inference's ``/rerank``, as memoryd's own does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final
from uuid import UUID

from retrieval.errors import ModelMismatch
from retrieval.filters import JsonValue
from retrieval.inference.remote.endpoint import Answer, Call, Endpoint
from retrieval.inference.remote.endpoints import Endpoints, side_by_side
from retrieval.inference.remote.formats import as_list, as_object, as_whole
from retrieval.inference.remote.kinds import ServerKind
from retrieval.inference.wire import OWNER

_TEXTS: Final = 256
_AT_ONCE: Final = 2
_CHARS_PER_TOKEN: Final = 4
_PAIR_TOKENS: Final = 256
_WEIGHT: Final = 0.2
_SLOW_S: Final = 0.1


class RemoteReranker:
    """``name``: the model; a memoryd server is asked for it by that name. ``served_as``: what another server must call it."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        kind: ServerKind,
        name: str,
        *,
        served_as: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._endpoints = Endpoints(endpoints, self._verify)
        self._kind = kind
        self._name = name
        self._served_as = served_as
        self._timeout_s = timeout_s
        self._most = _TEXTS
        self._known = False  # whether a server has said how many texts it takes
        self._rate = _Rate()

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoints.close()

    @property
    def usable(self) -> bool:
        """False while every server is left alone after failures."""
        return self._endpoints.usable

    async def score(self, query: str, passages: Sequence[str], *, owner: UUID | None = None) -> Sequence[float]:
        """See :meth:`retrieval.ports.Reranker.score`. Not asked twice: it is the dearest thing that a server does."""
        if not self._known:
            await self._endpoints.look(timeout_s=self._timeout_s)
        parts = [passages[start : start + self._most] for start in range(0, len(passages), self._most)]
        started, done = time.monotonic(), False
        try:
            found = await side_by_side([self._asked(query, part, owner) for part in parts], at_once=_AT_ONCE)
            done = True
        finally:
            # Also of one that was given up: it took longer than that, and the next must be smaller.
            self._rate.add(_tokens(query, passages), time.monotonic() - started, done=done)
        return [score for part in found for score in part]

    def estimate_ms(self, query: str, passages: Sequence[str]) -> float:
        """See :meth:`retrieval.ports.Reranker.estimate_ms`; of what calls have taken lately, the way there and back included."""
        return 1000.0 * self._rate.seconds(_tokens(query, passages))

    async def _asked(self, query: str, passages: Sequence[str], owner: UUID | None) -> list[float]:
        texts: list[JsonValue] = list(passages)
        body: dict[str, JsonValue] = {"query": query, "texts": texts, "raw_scores": False, "return_text": False}
        body |= {"model": self._name} if self._kind is ServerKind.MEMORYD else {"truncate": True}
        call = Call("rerank", body)
        if owner is not None:
            call = replace(call, headers={OWNER: str(owner)})
        return await self._endpoints.ask(call, partial(_scores, len(passages)), timeout_s=self._timeout_s)

    async def _verify(self, endpoint: Endpoint) -> None:
        path = "models" if self._kind is ServerKind.MEMORYD else "info"
        said = as_object((await endpoint.ask(Call(path), timeout_s=self._timeout_s)).json())
        self._most = min(self._most, self._checked(said, endpoint))
        self._known = True

    def _checked(self, said: Mapping[str, JsonValue], endpoint: Endpoint) -> int:
        """How many texts a server takes that says this of itself. Raises ``ModelMismatch``."""
        if self._kind is ServerKind.MEMORYD:
            models = [as_object(one) for one in as_list(said["models"])]
            if not any(one.get("name") == self._name and one.get("role") == "reranker" for one in models):
                raise ModelMismatch(f"{endpoint.name} does not serve the reranker {self._name}.")
            return as_whole(as_object(said["limits"])["max_texts"])
        if self._served_as is not None and said.get("model_id") != self._served_as:
            raise ModelMismatch(f"{endpoint.name} serves {said.get('model_id')}, not {self._served_as}.")
        return as_whole(said.get("max_client_batch_size", 32))


class _Rate:
    """Estimated tokens a second, as a moving average over calls."""

    def __init__(self) -> None:
        self._per_s = 0.0

    def add(self, tokens: int, seconds: float, *, done: bool) -> None:
        if not tokens:
            return
        rate = tokens / max(seconds, 1e-6)
        if not done:
            # It was slower than that; a failure at once says nothing.
            if seconds >= _SLOW_S and (not self._per_s or rate < self._per_s):
                self._per_s = rate / 2
            return
        self._per_s = self._per_s + _WEIGHT * (rate - self._per_s) if self._per_s else rate

    def seconds(self, tokens: int) -> float:
        return tokens / self._per_s if self._per_s else 0.0


def _tokens(query: str, passages: Sequence[str]) -> int:
    return sum(min((len(query) + len(passage)) // _CHARS_PER_TOKEN + 3, _PAIR_TOKENS) for passage in passages)


def _scores(count: int, answer: Answer) -> list[float]:
    """In the order of the texts. Raises ``ValueError``, ``LookupError``, ``TypeError``."""
    rows = sorted((as_object(one) for one in as_list(answer.json())), key=lambda one: as_whole(one["index"]))
    if [row["index"] for row in rows] != list(range(count)):
        raise ValueError("the scores are not those of the texts")
    scores = [_number(row["score"]) for row in rows]
    if not all(0.0 <= score <= 1.0 for score in scores):
        raise ValueError("a score is not in [0, 1]")
    return scores


def _number(value: JsonValue) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("not a number")
    return float(value)
