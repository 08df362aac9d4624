"""The models of one runtime with their lanes, as the compute thread makes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from retrieval.inference.backends import EmbedderBackend, RerankerBackend, Rowwise, StagedEmbedder, StagedReranker, Twofold
from retrieval.inference.batches import BatchLimits, Budget, Crowd, Pace, Throughput
from retrieval.inference.job import Job
from retrieval.inference.lanes import LaneQueue, Sizes
from retrieval.inference.lending import LendingStages, Loans
from retrieval.inference.soundness import PAIR, TEXT, Soundness
from retrieval.inference.stages import EmbedderStages, Pair, RerankerStages, Stages, pair_tokens, whole_pairs, whole_texts
from retrieval.inference.tokenizer import estimated_tokens
from retrieval.inference.worker import Waiting

# Ordinary prose: about four characters a token, as the estimates have it.
_PROSE = "She said that the trip to the lake last summer was the best one they ever had together. "
# Where rows run one by one, one or two long ones leave half of the cores idle: a run may have so many times as much in it when
# as many questions wait, and of bulk on a thread of its own, where nobody waits for its end.
_CROWD_RUNS, _BULK_RUNS = 2, 16
T = TypeVar("T")
R = TypeVar("R")


class Queue(Waiting, Protocol[T]):
    """A lane of texts or of pairs."""

    @property
    def sound(self) -> bool:
        """False while its model fails on everything."""

    def add(self, job: Job[T]) -> None:
        """Queue every item of ``job``."""

    def drop(self, job: Job[T]) -> None:
        """Forget one that nobody waits for any more."""


class LoadedModels:
    """Backends, three lanes over them (questions, pairs, bulk) and their measured throughput.

    Loading blocks and ends with a warm-up: each model at its largest shapes, for its memory, and at a common one, for its
    speed. A shape for which there is too little memory is halved until there is enough, and so are the batches that follow.
    ``costs`` in tokens are :func:`retrieval.inference.tokenizer.estimated_tokens` everywhere.

    Where the embedder comes in two, bulk runs on the second one and a thread of its own (``bulk_apart``), and keeps no
    question waiting, but for what it is ``lent`` of the first thread's turns when it gets nowhere; else it takes turns with
    questions, in batches of ``patience_s`` while some come.
    """

    def __init__(
        self,
        load_embedder: Callable[[], EmbedderBackend],
        load_reranker: Callable[[], RerankerBackend] | None,
        limits: BatchLimits | None,
        patience_s: float,
        on_failure: Callable[[], None],
    ) -> None:
        """``on_failure`` is called, on a compute thread, when a model begins to fail on everything."""
        self._on_failure = on_failure
        self.embedder = load_embedder()
        self.second: StagedEmbedder | None = None
        self.lent = Loans()
        self.reranker: RerankerBackend | None = None
        try:
            self.reranker = load_reranker() if load_reranker is not None else None
            self.second = self.embedder.second() if isinstance(self.embedder, Twofold) else None
            self._make_lanes(limits, patience_s)
        except BaseException:
            self.close()
            raise

    @property
    def bulk_apart(self) -> bool:
        """True when the bulk lane is for a thread of its own."""
        return self.second is not None

    @property
    def embeds(self) -> bool:
        """False while the embedder fails on everything."""
        return self.questions.sound and self.bulk.sound

    @property
    def reranks(self) -> bool:
        """False while the reranker, if there is one, fails on everything."""
        return self.pairs is None or self.pairs.sound

    @property
    def half(self) -> int | None:
        """So many texts at a time leave half of bulk's threads idle; ``None`` where texts do not have a thread each."""
        return max(1, self.second.rows_at_once // 2) if isinstance(self.second, Rowwise) else None

    def close(self) -> None:
        """Release the backends, when none of them runs."""
        for backend in (self.embedder, self.second, self.reranker):
            if backend is not None:
                backend.close()

    def _make_lanes(self, limits: BatchLimits | None, patience_s: float) -> None:
        self.embedding, self.reranking = Throughput(), Throughput()
        self.bulk_embedding = Throughput() if self.bulk_apart else self.embedding
        pace = Pace(patience_s)
        texts, pairs = _limits(self.embedder, limits), _limits(self.reranker, limits)
        budgets = Budget(texts.tokens), Budget(pairs.tokens)
        self._warm_up(self.embedder, texts, budgets[0], self.embedding)
        if self.second is not None:
            self._warm_up(self.second, texts, budgets[0], self.bulk_embedding)
        if self.reranker is not None:
            self._warm_up_reranker(self.reranker, pairs, budgets[1])
        self.questions = self._question_lane(texts, budgets[0], pace)
        self.bulk = self._bulk_lane(texts, budgets[0], pace)
        self.pairs: Queue[Pair] | None = None
        if self.reranker is not None:
            soundness = Soundness(PAIR, self._on_failure)
            self.pairs = _pair_lane(self.reranker, pairs, self.reranking, budgets[1], pace, soundness)

    def _question_lane(self, limits: BatchLimits, budget: Budget, pace: Pace) -> Queue[str]:
        soundness = Soundness(TEXT, self._on_failure)
        if not isinstance(self.embedder, StagedEmbedder) or self.embedder.padded:
            return _text_lane(self.embedder, limits, self.embedding, budget, soundness, asked=pace)
        most, sizes = BatchLimits(limits.items, _CROWD_RUNS * limits.tokens), Crowd(limits.tokens)
        return _wider_lane(EmbedderStages(self.embedder), limits, most, self.embedding, budget, sizes, soundness, asked=pace)

    def _bulk_lane(self, limits: BatchLimits, budget: Budget, pace: Pace) -> Queue[str]:
        soundness = Soundness(TEXT, self._on_failure)
        if self.second is None or not isinstance(self.embedder, StagedEmbedder):
            return _text_lane(self.embedder, limits, self.bulk_embedding, budget, soundness, pace)
        stages = LendingStages(EmbedderStages(self.second), EmbedderStages(self.embedder), self.lent, limits)
        runs = 1 if self.second.padded else _BULK_RUNS
        most = BatchLimits(runs * limits.items, runs * limits.tokens)
        return _wider_lane(stages, limits, most, self.bulk_embedding, budget, stages, soundness)

    def _warm_up(self, embedder: EmbedderBackend, limits: BatchLimits, budget: Budget, throughput: Throughput) -> None:
        window = embedder.card.max_tokens
        _largest(embedder.embed, lambda words, rows: [_text(words)] * rows, window, limits, budget)
        costs = [estimated_tokens(_PROSE, window)] * 8
        _measure(lambda: embedder.embed([_PROSE] * 8), costs, throughput)

    def _warm_up_reranker(self, reranker: RerankerBackend, limits: BatchLimits, budget: Budget) -> None:
        window = reranker.max_pair_tokens
        _largest(reranker.score, lambda words, rows: [("memory", _text(words))] * rows, window, limits, budget)
        costs = [pair_tokens(_PROSE, _PROSE, window)] * 8
        _measure(lambda: reranker.score([(_PROSE, _PROSE)] * 8), costs, self.reranking)


Item = TypeVar("Item")


def _largest(
    run: Callable[[Sequence[Item]], object],
    made: Callable[[int, int], Sequence[Item]],
    window: int,
    limits: BatchLimits,
    budget: Budget,
) -> None:
    """Run the largest shapes: as many texts of the window's length as a batch may hold, and as many short ones."""

    def long(tokens: int) -> object:
        return run(made(window, max(1, min(limits.items, tokens // window))))

    def short(tokens: int) -> object:
        return run(made(max(1, tokens // limits.items), limits.items))

    for shape, least in ((long, window), (short, limits.items)):
        while not _fits(shape, budget, least):
            pass


def _fits(shape: Callable[[int], object], budget: Budget, least: int) -> bool:
    """False when there was too little memory, and the budget is smaller now. Raises ``MemoryError`` below ``least``."""
    try:
        shape(budget.tokens)
    except MemoryError:
        if budget.tokens <= least:
            raise
        budget.shrink(budget.tokens)
        return False
    return True


def _text(tokens: int) -> str:
    """At least so many tokens, up to a sentence more."""
    return _PROSE * (tokens // 16 + 1) if tokens > 16 else " ".join(_PROSE.split()[:tokens])


def _measure(run: Callable[[], object], costs: Sequence[int], throughput: Throughput) -> None:
    started = time.perf_counter()
    run()
    throughput.add(sum(costs), time.perf_counter() - started)


def _limits(backend: EmbedderBackend | RerankerBackend | None, given: BatchLimits | None) -> BatchLimits:
    if given is None and isinstance(backend, (StagedEmbedder, StagedReranker)):
        return backend.limits
    return given or BatchLimits()


def _text_lane(
    backend: EmbedderBackend,
    limits: BatchLimits,
    throughput: Throughput,
    budget: Budget,
    soundness: Soundness[str],
    sizes: Sizes | None = None,
    *,
    asked: Pace | None = None,
) -> Queue[str]:
    def made(stages: Stages[str, R]) -> Queue[str]:
        return LaneQueue(
            stages, limits=limits, throughput=throughput, budget=budget, sizes=sizes, asked=asked, soundness=soundness
        )

    return made(EmbedderStages(backend)) if isinstance(backend, StagedEmbedder) else made(whole_texts(backend))


def _wider_lane(
    stages: Stages[str, R],
    limits: BatchLimits,
    most: BatchLimits,
    throughput: Throughput,
    budget: Budget,
    sizes: Sizes,
    soundness: Soundness[str],
    *,
    asked: Pace | None = None,
) -> Queue[str]:
    """Runs of up to ``most``; those of ``limits``, which ``budget`` is of, are as fast as any."""
    wider = budget.widened(most.tokens)
    return LaneQueue(
        stages,
        limits=most,
        throughput=throughput,
        budget=wider,
        sizes=sizes,
        asked=asked,
        full=limits.tokens,
        soundness=soundness,
    )


def _pair_lane(
    backend: RerankerBackend,
    limits: BatchLimits,
    throughput: Throughput,
    budget: Budget,
    pace: Pace,
    soundness: Soundness[Pair],
) -> Queue[Pair]:
    def made(stages: Stages[Pair, R]) -> Queue[Pair]:
        return LaneQueue(stages, limits=limits, throughput=throughput, budget=budget, sizes=pace, soundness=soundness)

    return made(RerankerStages(backend)) if isinstance(backend, StagedReranker) else made(whole_pairs(backend))
