""":class:`retrieval.ports.Embedder` over servers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import quote
from uuid import UUID

import numpy as np

from retrieval.errors import InferenceOverloaded, InferenceUnavailable
from retrieval.inference.remote.endpoint import Answer, Call, Endpoint
from retrieval.inference.remote.endpoints import Endpoints, side_by_side
from retrieval.inference.remote.formats import EmbeddingFormat, MemorydFormat, OpenAiFormat, TeiFormat, TextKind, Wanted
from retrieval.inference.wire import OWNER
from retrieval.ports import Lane, ModelCard
from retrieval.vectors import Vectors

_TEXTS: Final = 128
_CHARACTERS: Final = 64_000
"""Of a request: some 16,000 tokens, a second or two of a CPU that is not busy, and well within the timeout of one that is."""
_AT_ONCE: Final = 4
"""Requests of one call: the server has the next while one is under way, which a GPU needs sooner."""
_AGAIN_S: Final = 1.0
_BELIEVED_S: Final = 30.0
"""A server of text-embeddings-inference that was exchanged, or stands behind one name with others, does not say so with its
answers: it is asked again after so long, which costs one round trip."""
_QUESTION_S: Final = 1.0
"""A question takes some ten milliseconds. A recall gives up the dense arm after two seconds, unless it is told otherwise."""

Cut = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for one request, by the lane; of bulk, also in the background, 429 is waited out within ``bulk_s``."""

    interactive_s: float = 10.0
    bulk_s: float = 120.0

    def of(self, lane: Lane) -> float:
        """Of that lane."""
        return self.interactive_s if lane is Lane.INTERACTIVE else self.bulk_s


class RemoteEmbedder:
    """Texts go in requests of a hundred or so. Call :meth:`start` first: the card comes from a server.

    ``cut``: shortens a text to the model's window, for servers that refuse longer ones. It may block.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        form: EmbeddingFormat,
        wanted: Wanted,
        *,
        patience: Patience | None = None,
        cut: Cut | None = None,
    ) -> None:
        believed_s = _BELIEVED_S if isinstance(form, TeiFormat) else math.inf
        self._endpoints = Endpoints(endpoints, self._verify, again_s=believed_s)
        self._form = form
        self._wanted = wanted
        self._patience = patience or Patience()
        self._cut = cut
        self._most = _TEXTS
        self._card: ModelCard | None = None

    async def start(self, *, within_s: float) -> None:
        """Learn the card, trying for so long. Raises ``InferenceUnavailable``, ``ModelMismatch``."""
        due = time.monotonic() + within_s
        while self._card is None:
            try:
                await self._endpoints.look(timeout_s=self._patience.interactive_s)
            except (InferenceUnavailable, InferenceOverloaded):
                if time.monotonic() + _AGAIN_S > due:
                    raise
                await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoints.close()

    async def tokenizer(self, form: MemorydFormat) -> bytes:
        """The model's ``tokenizer.json``, which only memoryd's own servers have. Raises ``InferenceError``."""
        call = Call(f"models/{quote(self.card.name, safe='')}/tokenizer")
        read = partial(form.tokenizer, card=self.card)
        return await self._endpoints.ask(call, read, timeout_s=self._patience.interactive_s)

    @property
    def usable(self) -> bool:
        """False while every server is left alone after failures."""
        return self._card is not None and self._endpoints.usable

    @property
    def card(self) -> ModelCard:
        """See :attr:`retrieval.ports.Embedder.card`. Raises ``InferenceUnavailable`` before :meth:`start`."""
        if self._card is None:
            raise InferenceUnavailable("No inference server has answered yet.")
        return self._card

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_queries`. A slow request is made a second time."""
        return await self._embed(texts, TextKind.QUERY, Lane.INTERACTIVE, owner)

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_passages`."""
        return await self._embed(texts, TextKind.PASSAGE, lane, owner)

    async def _embed(self, texts: Sequence[str], kind: TextKind, lane: Lane, owner: UUID | None) -> Vectors:
        if not texts:
            return np.zeros((0, self.card.dimension), dtype=np.float32)
        if self._cut is not None:
            prefix = self.card.query_prefix if kind is TextKind.QUERY else self.card.passage_prefix
            texts = await asyncio.to_thread(_cut, texts, prefix, self._cut)
        calls = [self._part(part, kind, lane, owner) for part in _parts(texts, self._most)]
        found = await side_by_side(calls, at_once=_AT_ONCE)
        return found[0] if len(found) == 1 else np.concatenate(found)

    async def _part(self, texts: Sequence[str], kind: TextKind, lane: Lane, owner: UUID | None) -> Vectors:
        due = time.monotonic() + self._patience.of(lane)
        while True:
            left = due - time.monotonic()
            try:
                return await self._asked(texts, kind, lane, owner, max(0.001, left))
            except InferenceOverloaded as error:
                wait = error.retry_after_s or _AGAIN_S
                if lane is Lane.INTERACTIVE or time.monotonic() + wait >= due:
                    raise
                await asyncio.sleep(wait)

    async def _asked(self, texts: Sequence[str], kind: TextKind, lane: Lane, owner: UUID | None, timeout_s: float) -> Vectors:
        call = self._form.call(texts, kind, lane, self.card)
        if kind is TextKind.QUERY:
            call = replace(call, expected_s=_QUESTION_S)
        # Behind OpenAI's format may be a stranger: who memoryd's tenants are is not told there.
        if owner is not None and not isinstance(self._form, OpenAiFormat):
            call = replace(call, headers={**(call.headers or {}), OWNER: str(owner)})
        return await self._endpoints.ask(
            call, partial(self._read, len(texts)), timeout_s=timeout_s, hedged=lane is Lane.INTERACTIVE
        )

    def _read(self, count: int, answer: Answer) -> Vectors:
        return self._form.vectors(answer, count, self.card)

    async def _verify(self, endpoint: Endpoint) -> None:
        """The first server says what the model is; every other must agree, and so must that one after a failure."""
        known = self._card
        wanted = self._wanted
        if known is not None:
            wanted = replace(wanted, revision=known.revision, dimension=known.dimension)
        described = await self._form.describe(endpoint, wanted, timeout_s=self._patience.interactive_s)
        if self._card is None:
            self._card = described.card
        self._most = min(self._most, described.max_texts)


def _cut(texts: Sequence[str], prefix: str, cut: Cut) -> list[str]:
    """Texts that fit the window behind the prefix."""
    return [cut(prefix + text)[len(prefix) :] for text in texts]


def _parts(texts: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Runs of at most ``most`` texts and about as many characters as a request may have."""
    start, held = 0, 0
    for place, text in enumerate(texts):
        if place > start and (place - start >= most or held + len(text) > _CHARACTERS):
            yield texts[start:place]
            start, held = place, 0
        held += len(text)
    yield texts[start:]
