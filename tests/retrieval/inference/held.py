"""Scripted models that can be held, and a runtime over them."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager

import numpy as np

from retrieval.inference import BatchLimits, InferenceRuntime, RuntimeLimits
from retrieval.inference.tokenizer import Encoding
from retrieval.ports import ModelCard
from retrieval.vectors import Vectors


class HeldEmbedder:
    """Embeds a text as its length. Each batch waits until the gate opens; ``batches`` are the texts seen. ``dead``: it fails
    on everything."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.card = ModelCard("held", "1", 2, 512, query_prefix="q:", passage_prefix="p:")
        self.gate = threading.Event()
        self.gate.set()
        self.pause_s = pause_s
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.closed = False
        self.dead = False

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.gate.wait(10)
        time.sleep(self.pause_s)
        self.threads.add(threading.current_thread().name)
        self.batches.append(list(texts))
        if self.dead or any("poison" in text for text in texts):
            raise ValueError("poisoned")
        if any("deadly" in text for text in texts):
            raise SystemExit
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)

    def close(self) -> None:
        self.closed = True


class LengthReranker:
    """Scores a pair by its passage's length."""

    name = "length"
    max_pair_tokens = 256

    def __init__(self, embedder: HeldEmbedder) -> None:
        self._embedder = embedder

    def score(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        self._embedder.gate.wait(10)
        time.sleep(self._embedder.pause_s)
        self._embedder.batches.append([f"{query}|{passage}" for query, passage in pairs])
        if self._embedder.dead:
            raise ValueError("dead")
        return [len(passage) / 1000 for _, passage in pairs]

    def close(self) -> None:
        pass


@asynccontextmanager
async def running(backend: HeldEmbedder, limits: RuntimeLimits | None = None) -> AsyncIterator[InferenceRuntime]:
    runtime = InferenceRuntime(lambda: backend, lambda: LengthReranker(backend), limits=limits)
    await runtime.start()
    backend.batches.clear()
    try:
        yield runtime
    finally:
        backend.gate.set()
        await runtime.close()


@asynccontextmanager
async def held(backend: HeldEmbedder, runtime: InferenceRuntime) -> AsyncIterator[None]:
    """The compute thread is inside a batch, and stays there until the block ends."""
    backend.gate.clear()
    first = asyncio.ensure_future(runtime.embed_queries(["first"]))
    await asyncio.sleep(0.02)
    yield
    backend.gate.set()
    await first


def spawn(*calls: Coroutine[object, object, Vectors]) -> list[asyncio.Task[Vectors]]:
    return [asyncio.ensure_future(call) for call in calls]


class StagedHeldEmbedder(HeldEmbedder):
    """Tells what happened where: (what, the thread's name, the texts' lengths)."""

    padded = True
    limits = BatchLimits(items=2, tokens=512)

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str, tuple[int, ...]]] = []
        self.prepared = threading.Event()
        self.memory = 10**9

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        self._tell("encode", [len(text) for text in texts])
        return [Encoding(np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)) for text in texts]

    def prepare(self, rows: Sequence[Encoding]) -> Callable[[], Vectors]:
        lengths = [len(row) for row in rows]
        self._tell("prepare", lengths)
        self.prepared.set()

        def run() -> Vectors:
            self.gate.wait(10)
            self._tell("run", lengths)
            return np.array([[length, 1.0] for length in lengths], dtype=np.float32)

        return run

    def embed(self, texts: Sequence[str]) -> Vectors:
        if sum(map(len, texts)) > self.memory:
            raise MemoryError
        return super().embed(texts)

    def _tell(self, what: str, lengths: Sequence[int]) -> None:
        self.events.append((what, threading.current_thread().name, tuple(lengths)))


class TwofoldEmbedder(StagedHeldEmbedder):
    """Of which there are two."""

    def __init__(self) -> None:
        super().__init__()
        self.other = StagedHeldEmbedder()

    def second(self) -> StagedHeldEmbedder:
        return self.other
