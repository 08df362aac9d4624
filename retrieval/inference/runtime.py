"""The async face of inference: bounded admission, three lanes fair between owners, the threads that compute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID

import numpy as np

from retrieval.errors import InferenceTimeout, InferenceUnavailable
from retrieval.inference.backends import EmbedderBackend, RerankerBackend
from retrieval.inference.batches import BatchLimits, Throughput
from retrieval.inference.doors import Door, refuse_endless
from retrieval.inference.job import Job
from retrieval.inference.loaded import LoadedModels, Queue
from retrieval.inference.rank import others_asked, step_aside
from retrieval.inference.soundness import TEXT, Sound, tended
from retrieval.inference.stages import Results, pair_tokens
from retrieval.inference.tokenizer import estimated_tokens
from retrieval.inference.worker import ComputeThread, Loaded, Waiting
from retrieval.ports import Lane, ModelCard
from retrieval.vectors import Vectors

T = TypeVar("T")

# Of a lane's turns. Questions first; pairs let one other batch pass, bulk lets seven pass, so that neither ever starves.
_QUESTIONS, _PAIRS, _BULK = 0, 1, 7
# Of the background: a text may have waited for other bulk as well.
_REST_S = 1.0
_rest = asyncio.sleep


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """Batch sizes, and the estimated tokens that may wait in each lane.

    A call is admitted whole or refused whole, but for one in the background, which is so in parts. One larger than its lane
    is admitted when the lane is empty: it could never be otherwise. A named owner may fill half of a lane, so that the others
    can still get in; one with nothing in it is always let into a lane that has room. Of bulk, what the model alone would need
    ``longest_s`` for is refused for good.

    ``batch`` is what the backend says it can use unless given. ``patience_s`` is how long a batch of pairs or of bulk may
    last while questions come, where it shares their thread.
    """

    batch: BatchLimits | None = None
    patience_s: float = 0.035
    interactive_tokens: int = 65_536
    rerank_tokens: int = 262_144
    bulk_tokens: int = 1_048_576
    longest_s: float | None = None


class InferenceRuntime:
    """Implements :class:`retrieval.ports.Embedder` and :class:`retrieval.ports.Reranker` over blocking backends.

    One runtime belongs to one event loop. The loop does admission and bookkeeping; the compute threads do the rest.
    ``timeout_s``, wherever it can be given, is how long the caller will wait: a call that cannot be done by then is refused
    at once, and one that was let in and is not done ends with :class:`InferenceTimeout`, and is computed no further.
    """

    def __init__(
        self,
        load_embedder: Callable[[], EmbedderBackend],
        load_reranker: Callable[[], RerankerBackend] | None = None,
        *,
        limits: RuntimeLimits | None = None,
    ) -> None:
        """The loaders are called by :meth:`start`, on the compute thread."""
        self._limits = limits = limits or RuntimeLimits()
        self._load_models = partial(
            LoadedModels, load_embedder, load_reranker, limits.batch, limits.patience_s, lambda: self._call(self._tend)
        )
        self._questions = Door(self._limits.interactive_tokens)
        self._pairs = Door(self._limits.rerank_tokens)
        self._bulk = Door(self._limits.bulk_tokens)
        self._background = asyncio.Lock()
        self._pending: set[asyncio.Future[Results]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: ComputeThread | None = None
        self._bulk_thread: ComputeThread | None = None
        self._models: LoadedModels | None = None
        self._tending: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._bulk_ended = threading.Event()

    async def start(self) -> None:
        """Load the models and run each at its largest shapes. Does nothing when started.

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
            on_failure=lambda error: self._call(partial(_reject, ready, error)),
            on_end=lambda: self._call(self._end),
        )
        self._thread.start()
        try:
            models = await ready
        except BaseException:
            self._thread.stop()
            self._thread = None
            raise
        if models.bulk_apart:
            self._bulk_thread = self._start_bulk(models, self._thread)
        self._models = models

    async def close(self) -> None:
        """Finish the running batches, fail what waits with :class:`InferenceUnavailable`, release the models."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            await self._ended.wait()

    @property
    def healthy(self) -> bool:
        """True between a successful :meth:`start` and :meth:`close`, while the compute threads live and the models compute."""
        return self.embeds and self.reranks

    @property
    def embeds(self) -> bool:
        """As :attr:`healthy`, of the embedder alone."""
        return self._alive and self._models is not None and self._models.embeds

    @property
    def reranks(self) -> bool:
        """As :attr:`healthy`, of the reranker alone, where there is one."""
        return self._alive and self._models is not None and self._models.reranks

    @property
    def _alive(self) -> bool:
        return self._thread is not None and all(one is None or one.alive for one in (self._thread, self._bulk_thread))

    @property
    def card(self) -> ModelCard:
        """The embedder's card. Raises :class:`InferenceUnavailable` before :meth:`start`."""
        return self._running().embedder.card

    @property
    def has_reranker(self) -> bool:
        """True when :meth:`score` can be called."""
        return self._models is not None and self._models.reranker is not None

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None, timeout_s: float | None = None) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_queries`."""
        return await self._embed(texts, self.card.query_prefix, Lane.INTERACTIVE, owner, timeout_s)

    async def embed_passages(
        self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None, timeout_s: float | None = None
    ) -> Vectors:
        """See :meth:`retrieval.ports.Embedder.embed_passages`."""
        return await self._embed(texts, self.card.passage_prefix, lane, owner, timeout_s)

    async def score(
        self, query: str, passages: Sequence[str], *, owner: UUID | None = None, timeout_s: float | None = None
    ) -> Sequence[float]:
        """See :meth:`retrieval.ports.Reranker.score`."""
        models = self._running()
        if models.reranker is None or models.pairs is None:
            raise InferenceUnavailable("No reranker is configured.")
        most = models.reranker.max_pair_tokens
        pairs = [(query, passage) for passage in passages]
        costs = [pair_tokens(query, passage, most) for passage in passages]
        wish = _Wish(pairs, costs, owner, timeout_s)
        scores = await self._submit(models.pairs, self._thread, self._pairs, models.reranking, wish)
        return [float(score) for score in scores]

    def estimate_ms(self, query: str, passages: Sequence[str]) -> float:
        """See :meth:`retrieval.ports.Reranker.estimate_ms`; includes what already waits in front."""
        models = self._running()
        if models.reranker is None:
            return 0.0
        most = models.reranker.max_pair_tokens
        pairs = self._pairs.queued + sum(pair_tokens(query, passage, most) for passage in passages)
        return 1000.0 * (models.reranking.seconds(pairs) + models.embedding.seconds(self._questions.queued))

    async def _embed(self, texts: Sequence[str], prefix: str, lane: Lane, owner: UUID | None, timeout_s: float | None) -> Vectors:
        models = self._running()
        if not texts:
            return np.zeros((0, models.embedder.card.dimension), dtype=np.float32)
        prefixed = [prefix + text for text in texts] if prefix else list(texts)
        costs = [estimated_tokens(text, models.embedder.card.max_tokens) for text in prefixed]
        wish = _Wish(prefixed, costs, owner, timeout_s)
        if lane is Lane.INTERACTIVE:
            return await self._submit(models.questions, self._thread, self._questions, models.embedding, wish)
        background = lane is Lane.BACKGROUND and models.half is not None
        refuse_endless((1 + background) * sum(costs), models.bulk_embedding, self._limits.longest_s)
        if background:
            return await self._in_background(models, wish, models.half or 1)
        return await self._in_bulk(models, wish)

    async def _in_background(self, models: LoadedModels, wish: _Wish[str], at_once: int) -> Results:
        """``at_once`` texts of all such calls at a time, each such part admitted by itself."""
        try:
            async with asyncio.timeout(wish.timeout_s):
                found = []
                for part in wish.parts(at_once):
                    async with self._background:
                        found.append(await self._unnoticed(models, part))
                return np.concatenate(found)
        except TimeoutError as error:
            raise InferenceTimeout(f"The model was not done after {wish.timeout_s} s.") from error

    async def _unnoticed(self, models: LoadedModels, wish: _Wish[str]) -> Results:
        """And then nothing for as long, up to a second, while somebody waits for another process: what shares no time with that
        shares no cache."""
        began = time.monotonic()
        found = await self._in_bulk(models, wish)
        if others_asked():
            await _rest(min(_REST_S, time.monotonic() - began))
        return found

    async def _in_bulk(self, models: LoadedModels, wish: _Wish[str]) -> Results:
        return await self._submit(models.bulk, self._bulk_thread or self._thread, self._bulk, models.bulk_embedding, wish)

    async def _submit(
        self, queue: Queue[T], thread: ComputeThread | None, door: Door, throughput: Throughput, wish: _Wish[T]
    ) -> Results:
        if not wish.items:
            return np.zeros(0, dtype=np.float32)
        loop, within_s = self._loop, wish.timeout_s
        if thread is None or loop is None or not thread.alive:
            raise InferenceUnavailable("Inference is not running.")
        ticket = door.enter(sum(wish.costs), throughput, wish.owner, within_s=within_s)
        future: asyncio.Future[Results] = loop.create_future()
        job = Job(
            wish.items,
            wish.costs,
            owner=wish.owner,
            on_progress=lambda tokens: self._call(partial(ticket.give_back, tokens)),
            on_result=lambda results: self._call(partial(_resolve, future, results)),
            on_error=lambda error: self._call(partial(_reject, future, error)),
            deadline=None if within_s is None else time.monotonic() + within_s,
        )
        thread.post(partial(queue.add, job))
        self._pending.add(future)
        try:
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError as error:
            raise InferenceTimeout(f"The model was not done after {within_s} s.") from error
        finally:
            job.abandoned = True
            ticket.give_back_all()
            if not job.finished:
                thread.post(partial(queue.drop, job))
            self._pending.discard(future)

    def _running(self) -> LoadedModels:
        if self._models is None or self._thread is None:
            raise InferenceUnavailable("Inference is not running.")
        return self._models

    def _load(self, ready: asyncio.Future[LoadedModels]) -> Loaded:
        """On the compute thread: lanes by priority, and what releases them."""
        models = self._load_models()
        self._call(partial(_resolve, ready, models))
        lanes: list[tuple[Waiting, int]] = [(models.questions, _QUESTIONS)]
        if models.pairs is not None:
            lanes.append((models.pairs, _PAIRS))
        lanes.append((models.lent if models.bulk_apart else models.bulk, _BULK))
        if self._thread is not None:
            models.lent.open(self._thread.wake)
        return lanes, partial(self._release, models)

    def _start_bulk(self, models: LoadedModels, first: ComputeThread) -> ComputeThread:
        """A thread that steps aside for the first; when one of them ends, so does the other."""

        def load() -> Loaded:
            step_aside()
            return [(models.bulk, _BULK)], first.stop

        self._bulk_ended.clear()
        thread = ComputeThread(
            name="memoryd-inference-bulk",
            load=load,
            on_failure=lambda error: first.stop(),
            on_end=self._bulk_ended.set,
        )
        thread.start()
        return thread

    def _release(self, models: LoadedModels) -> None:
        """On the compute thread, at its end: when nothing runs any more, let go of the models."""
        bulk = self._bulk_thread
        if bulk is not None:
            bulk.stop()
            self._bulk_ended.wait()
        models.close()

    def _tend(self) -> None:
        """A model fails on everything: find out when it does not any more."""
        models = self._models
        if models is None or (self._tending is not None and not self._tending.done()):
            return
        lanes: list[tuple[Sound, Callable[[], Awaitable[object]]]] = [
            (models.questions, partial(self._embed, [TEXT], "", Lane.INTERACTIVE, None, None)),
            (models.bulk, partial(self._embed, [TEXT], "", Lane.BULK, None, None)),
        ]
        if models.pairs is not None:
            lanes.append((models.pairs, partial(self.score, TEXT, [TEXT])))
        self._tending = asyncio.create_task(tended(lanes))

    def _call(self, action: Callable[[], None]) -> None:
        """On the compute thread: have the loop run ``action``, unless the loop is gone."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # closed this moment
                self._loop.call_soon_threadsafe(action)

    def _end(self) -> None:
        """The compute thread is over, as asked or not: nobody may wait for it."""
        self._models = None
        self._bulk_thread = None
        if self._tending is not None:
            self._tending.cancel()
        for future in self._pending:
            _reject(future, InferenceUnavailable("Inference has stopped."))
        self._ended.set()


@dataclass(frozen=True, slots=True)
class _Wish(Generic[T]):
    """A call, as it is submitted."""

    items: Sequence[T]
    costs: Sequence[int]
    owner: UUID | None
    timeout_s: float | None

    def parts(self, size: int) -> Iterator[_Wish[T]]:
        """The same in so many items at a time."""
        for at in range(0, len(self.items), size):
            yield replace(self, items=self.items[at : at + size], costs=self.costs[at : at + size])


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _reject(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
