"""The async face of inference: bounded admission, three lanes fair between owners, one compute thread."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import numpy as np

from retrieval.errors import BatchTooLarge, InferenceOverloaded, InferenceUnavailable
from retrieval.inference.backends import EmbedderBackend, RerankerBackend
from retrieval.inference.batches import BatchLimits, Throughput, Turns
from retrieval.inference.lanes import Job, LaneQueue, Results, T
from retrieval.inference.loaded import LoadedModels, pair_tokens
from retrieval.inference.tokenizer import estimated_tokens
from retrieval.inference.worker import ComputeThread, Waiting
from retrieval.ports import Lane, ModelCard, Vectors

# Questions first; pairs let one other batch pass, bulk lets seven pass, so that neither ever starves.
_PATIENCE = (0, 1, 7)


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """Batch sizes, and the estimated tokens that may wait in each lane.

    A call is admitted whole or refused whole. One larger than its lane is admitted when the lane is empty: it could
    never be otherwise. A named owner may fill half of a lane, so that the others can still get in; one with nothing in it
    is always let into a lane that has room. Of bulk, what the model alone would need ``longest_s`` for is refused for good.
    """

    batch: BatchLimits = field(default_factory=BatchLimits)
    interactive_tokens: int = 65_536
    rerank_tokens: int = 262_144
    bulk_tokens: int = 1_048_576
    longest_s: float | None = None


class InferenceRuntime:
    """Implements :class:`retrieval.ports.Embedder` and :class:`retrieval.ports.Reranker` over blocking backends.

    One runtime belongs to one event loop. The loop does admission and bookkeeping; the compute thread does the rest.
    """

    def __init__(
        self,
        load_embedder: Callable[[], EmbedderBackend],
        load_reranker: Callable[[], RerankerBackend] | None = None,
        *,
        limits: RuntimeLimits | None = None,
    ) -> None:
        """The loaders are called by :meth:`start`, on the compute thread."""
        self._limits = limits or RuntimeLimits()
        self._load_models = partial(LoadedModels, load_embedder, load_reranker, self._limits.batch)
        self._questions = _Door(self._limits.interactive_tokens)
        self._pairs = _Door(self._limits.rerank_tokens)
        self._bulk = _Door(self._limits.bulk_tokens)
        self._pending: set[asyncio.Future[Results]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: ComputeThread | None = None
        self._models: LoadedModels | None = None
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Load the models and run each at its largest shape. Does nothing when started.

        Raises:
            InferenceUnavailable, ModelNotFound: what loading raised.
        """
        if self._thread is not None:
            return
        loop = self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[LoadedModels] = loop.create_future()
        self._ended.clear()
        self._thread = ComputeThread(
            load=lambda: self._load(ready),
            turns=Turns(_PATIENCE),
            on_failure=lambda error: self._call(partial(_reject, ready, error)),
            on_end=lambda: self._call(self._end),
        )
        self._thread.start()
        try:
            self._models = await ready
        except BaseException:
            self._thread.stop()
            self._thread = None
            raise

    async def close(self) -> None:
        """Finish the running batch, fail what waits with :class:`InferenceUnavailable`, release the models."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            await self._ended.wait()

    @property
    def healthy(self) -> bool:
        """True between a successful :meth:`start` and :meth:`close`, while the compute thread lives."""
        return self._models is not None and self._thread is not None and self._thread.alive

    @property
    def card(self) -> ModelCard:
        """The embedder's card. Raises :class:`InferenceUnavailable` before :meth:`start`."""
        return self._running().embedder.card

    @property
    def has_reranker(self) -> bool:
        """True when :meth:`score` can be called."""
        return self._models is not None and self._models.reranker is not None

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_queries`."""
        return await self._embed(texts, self.card.query_prefix, Lane.INTERACTIVE, owner)

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_passages`."""
        return await self._embed(texts, self.card.passage_prefix, lane, owner)

    async def score(self, query: str, passages: Sequence[str], *, owner: UUID | None = None) -> Sequence[float]:
        """See :meth:`retrieval.ports.Reranker.score`."""
        models = self._running()
        if models.reranker is None:
            raise InferenceUnavailable("No reranker is configured.")
        most = models.reranker.max_pair_tokens
        pairs = [(query, passage) for passage in passages]
        costs = [pair_tokens(query, passage, most) for passage in passages]
        scores = await self._submit(models.pairs, self._pairs, models.reranking, pairs, costs, owner)
        return [float(score) for score in scores]

    def estimate_ms(self, query: str, passages: Sequence[str]) -> float:
        """See :meth:`retrieval.ports.Reranker.estimate_ms`; includes what already waits in front."""
        models = self._running()
        if models.reranker is None:
            return 0.0
        most = models.reranker.max_pair_tokens
        pairs = self._pairs.queued + sum(pair_tokens(query, passage, most) for passage in passages)
        return 1000.0 * (models.reranking.seconds(pairs) + models.embedding.seconds(self._questions.queued))

    async def _embed(self, texts: Sequence[str], prefix: str, lane: Lane, owner: UUID | None) -> Vectors:
        models = self._running()
        if not texts:
            return np.zeros((0, models.embedder.card.dimension), dtype=np.float32)
        queue, door = (models.bulk, self._bulk) if lane is Lane.BULK else (models.questions, self._questions)
        prefixed = [prefix + text for text in texts] if prefix else list(texts)
        costs = [estimated_tokens(text, models.embedder.card.max_tokens) for text in prefixed]
        if lane is Lane.BULK:
            self._check_length(sum(costs), models.embedding)
        return await self._submit(queue, door, models.embedding, prefixed, costs, owner)

    async def _submit(
        self,
        queue: LaneQueue[T],
        door: _Door,
        throughput: Throughput,
        items: Sequence[T],
        costs: Sequence[int],
        owner: UUID | None,
    ) -> Results:
        if not items:
            return np.zeros(0, dtype=np.float32)
        thread, loop = self._thread, self._loop
        if thread is None or loop is None or not thread.alive:
            raise InferenceUnavailable("Inference is not running.")
        ticket = door.enter(sum(costs), throughput, owner)
        future: asyncio.Future[Results] = loop.create_future()
        job = Job(
            items,
            costs,
            owner=owner,
            on_progress=lambda tokens: self._call(partial(ticket.give_back, tokens)),
            on_result=lambda results: self._call(partial(_resolve, future, results)),
            on_error=lambda error: self._call(partial(_reject, future, error)),
        )
        thread.post(partial(queue.add, job))
        self._pending.add(future)
        try:
            return await future
        finally:
            job.abandoned = True
            ticket.give_back_all()
            self._pending.discard(future)

    def _check_length(self, tokens: int, throughput: Throughput) -> None:
        """Raises :class:`BatchTooLarge` for what could not be done in time even if nothing else was."""
        most, needed = self._limits.longest_s, throughput.least_seconds(tokens)
        if most is not None and needed > most:
            raise BatchTooLarge(
                f"about {tokens} tokens take the model {needed:.0f} s, longer than a request may last: "
                f"split the batch, {int(tokens * most / needed)} tokens at a time at most"
            )

    def _running(self) -> LoadedModels:
        if self._models is None or self._thread is None:
            raise InferenceUnavailable("Inference is not running.")
        return self._models

    def _load(self, ready: asyncio.Future[LoadedModels]) -> tuple[Sequence[Waiting], Callable[[], None]]:
        """On the compute thread: lanes by priority, and what releases them."""
        models = self._load_models()
        self._call(partial(_resolve, ready, models))
        return (models.questions, models.pairs, models.bulk), models.close

    def _call(self, action: Callable[[], None]) -> None:
        """On the compute thread: have the loop run ``action``, unless the loop is gone."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    def _end(self) -> None:
        """The compute thread is over, as asked or not: nobody may wait for it."""
        self._models = None
        for future in self._pending:
            _reject(future, InferenceUnavailable("Inference has stopped."))
        self._ended.set()


class _Door:
    """Counts the tokens that wait in a lane. Used on the event loop only."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._owned: Counter[UUID] = Counter()
        self.queued = 0

    def enter(self, tokens: int, throughput: Throughput, owner: UUID | None) -> _Ticket:
        own = self._owned[owner] if owner is not None else 0
        if (self.queued and self.queued + tokens > self._capacity) or (own and own + tokens > self._capacity // 2):
            wait = max(0.1, throughput.seconds(self.queued))
            raise InferenceOverloaded(
                f"{self.queued} tokens wait for the model; {tokens} more are too many now.", retry_after_s=wait
            )
        return _Ticket(self, tokens, owner)

    def count(self, tokens: int, owner: UUID | None) -> None:
        self.queued += tokens
        if owner is not None:
            self._owned[owner] += tokens
            if not self._owned[owner]:
                del self._owned[owner]


class _Ticket:
    """One call's tokens in a lane."""

    def __init__(self, door: _Door, tokens: int, owner: UUID | None) -> None:
        self._door = door
        self._held = tokens
        self._owner = owner
        door.count(tokens, owner)

    def give_back(self, tokens: int) -> None:
        done = min(tokens, self._held)
        self._held -= done
        self._door.count(-done, self._owner)

    def give_back_all(self) -> None:
        self.give_back(self._held)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _reject(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
