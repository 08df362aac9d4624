"""The models of one inference server, several at once."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from memoryd.errors import InvalidRequest, UnknownModel
from memoryd.settings import Settings
from memoryd.threads import BULK, QUICK
from retrieval.errors import InferenceError
from retrieval.inference import (
    InferenceRuntime,
    ModelFiles,
    ModelStore,
    ModelTokenizer,
    RuntimeLimits,
    load_embedder,
    load_reranker,
)
from retrieval.inference.absent import AbsentEmbedder
from retrieval.inference.tokenizer import MOST_CHARS_PER_TOKEN
from retrieval.ports import Lane, ModelCard
from retrieval.vectors import Vectors

M = TypeVar("M")

# Of a request's time: its body is read and its answer written beside.
_SHARE = 0.8
_QUICK_CHARACTERS = 100_000
_COUNTED_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class ServedEmbedder:
    """One embedding model. Its runtime adds no prefix, so that formats without kinds of texts get what they sent embedded."""

    card: ModelCard
    tokenizer: Path
    _runtime: InferenceRuntime
    _counter: ModelTokenizer

    @property
    def healthy(self) -> bool:
        """True while it can compute."""
        return self._runtime.healthy

    async def embed(
        self, texts: Sequence[str], *, prefix: str, lane: Lane, owner: UUID | None, timeout_s: float | None = None
    ) -> Vectors:
        """Shape ``(len(texts), dimension)``; what cannot be done in ``timeout_s`` is refused. Raises ``InferenceError``."""
        prefixed = [prefix + text for text in texts] if prefix else texts
        return await self._runtime.embed_passages(prefixed, lane=lane, owner=owner, timeout_s=timeout_s)

    async def lengths(self, texts: Sequence[str], *, prefix: str) -> list[int]:
        """Tokens of each text behind the prefix, with the special ones, before anything is cut. It ends with the first that is
        longer than the window, which counts as one token more than that. Raises ``InferenceError`` for what is no text."""
        threads = QUICK if sum(map(len, texts)) <= _QUICK_CHARACTERS else BULK
        return await threads.run(self._lengths, [prefix + text for text in texts])

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        window = self.card.max_tokens
        found: list[int] = []
        for part in _parts(texts):
            try:
                counted = self._counter.encode(part)
            except Exception as error:  # whatever a tokenizer raises
                raise InferenceError("One of the inputs cannot be tokenised.") from error
            for text, tokens in zip(part, counted, strict=True):
                # What is so long is not looked at to its end, by the model neither.
                whole = len(text) <= MOST_CHARS_PER_TOKEN * window and len(tokens) <= window
                found.append(len(tokens) if whole else window + 1)
                if not whole:
                    return found
        return found


@dataclass(frozen=True, slots=True)
class ServedReranker:
    """One cross-encoder."""

    name: str
    revision: str
    _runtime: InferenceRuntime

    @property
    def healthy(self) -> bool:
        """True while it can compute."""
        return self._runtime.healthy

    async def score(self, query: str, texts: Sequence[str], *, owner: UUID | None, timeout_s: float | None = None) -> list[float]:
        """Relevance in ``[0, 1]``, in the order of the texts; see :meth:`ServedEmbedder.embed`."""
        return list(await self._runtime.score(query, texts, owner=owner, timeout_s=timeout_s))


@dataclass(frozen=True, slots=True)
class Served:
    """By name; the first of each kind is the one that is meant where none is named."""

    embedders: Mapping[str, ServedEmbedder]
    rerankers: Mapping[str, ServedReranker]

    @property
    def healthy(self) -> bool:
        """True while all models can compute."""
        embedding = all(model.healthy for model in self.embedders.values())
        return embedding and all(model.healthy for model in self.rerankers.values())

    def embedder(self, name: str | None) -> ServedEmbedder:
        """Raises ``UnknownModel``."""
        return _named(self.embedders, name, "embeds")

    def reranker(self, name: str | None) -> ServedReranker:
        """Raises ``UnknownModel``."""
        return _named(self.rerankers, name, "reranks")


@asynccontextmanager
async def open_served(settings: Settings) -> AsyncIterator[Served]:
    """Load and warm up, one after the other. Raises ``ModelNotFound``, ``InferenceUnavailable``, ``InvalidRequest``.

    The first embedder and the first reranker share a runtime, as in a process of its own: one thread computes, and questions
    go before pairs. Every other model has a runtime for itself, and the system shares the machine among them.
    """
    store = ModelStore(settings.model_cache)
    embedding = await asyncio.to_thread(_located, store, settings.inference_embedders or settings.embedding_model)
    reranking = await asyncio.to_thread(_located, store, settings.inference_rerankers or settings.rerank_model)
    if not embedding and not reranking:
        raise InvalidRequest("no model to serve: set MEMORYD_INFERENCE_EMBEDDERS or MEMORYD_INFERENCE_RERANKERS")
    embedders: dict[str, ServedEmbedder] = {}
    rerankers: dict[str, ServedReranker] = {}
    async with AsyncExitStack() as stack:
        for number in range(max(len(embedding), len(reranking))):
            embedder = embedding[number] if number < len(embedding) else None
            reranker = reranking[number] if number < len(reranking) else None
            pairs = [(embedder, reranker)] if number == 0 else [(embedder, None), (None, reranker)]
            for one, other in pairs:
                if one is None and other is None:
                    continue
                runtime = await stack.enter_async_context(_running(settings, one, other))
                if one is not None:
                    embedders[one.name] = _served(one, runtime)
                if other is not None:
                    rerankers[other.name] = ServedReranker(other.name, other.revision, runtime)
        yield Served(embedders, rerankers)


def raw_score(relevance: float) -> float:
    """The logit that a relevance is the sigmoid of, as far as single precision tells."""
    bounded = min(max(relevance, 1e-7), 1 - 1e-7)
    return math.log(bounded / (1 - bounded))


@asynccontextmanager
async def _running(
    settings: Settings, embedder: ModelFiles | None, reranker: ModelFiles | None
) -> AsyncIterator[InferenceRuntime]:
    threads = settings.inference_threads
    runtime = InferenceRuntime(
        partial(load_embedder, _bare(embedder), threads=threads) if embedder is not None else AbsentEmbedder,
        partial(load_reranker, reranker, threads=threads) if reranker is not None else None,
        limits=RuntimeLimits(longest_s=_SHARE * settings.request_timeout_s),
    )
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.close()


def _bare(files: ModelFiles) -> ModelFiles:
    """The model without its prefixes."""
    return replace(files, prefixed=False)


def _served(files: ModelFiles, runtime: InferenceRuntime) -> ServedEmbedder:
    card = replace(runtime.card, query_prefix=files.query_prefix, passage_prefix=files.passage_prefix)
    return ServedEmbedder(card, files.tokenizer, runtime, ModelTokenizer(files.tokenizer, max_tokens=card.max_tokens + 1))


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """So much at a time that counting takes some megabytes: a tokenizer keeps some hundred bytes of each token."""
    start, held = 0, 0
    for place, text in enumerate(texts):
        held += len(text)
        if place > start and held > _COUNTED_CHARACTERS:
            yield texts[start:place]
            start, held = place, len(text)
    if texts:
        yield texts[start:]


def _located(store: ModelStore, names: str) -> list[ModelFiles]:
    found = [store.locate(name.strip()) for name in names.split(",") if name.strip()]
    if len({files.name for files in found}) < len(found):
        raise InvalidRequest("a model to serve is named twice")
    return found


def _named(models: Mapping[str, M], name: str | None, does: str) -> M:
    if name is None and models:
        return next(iter(models.values()))
    if name is None or name not in models:
        known = ", ".join(models) or "none"
        raise UnknownModel(f"no model of that name {does} here; there is: {known}")
    return models[name]
