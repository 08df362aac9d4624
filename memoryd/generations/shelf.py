"""The models of one process: the configured one, and those that generations need, loaded on demand and released behind them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from memoryd.generations.model import Generation
from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.ports import Embedder, ModelCard

log = logging.getLogger(__name__)

# A model that could not be loaded is not tried again at once, or every write would wait for the attempt.
_RETRY_S = 30.0
# Who can do without a model waits for it so long at most: it may have to be fetched first, which takes minutes.
PATIENCE_S = 5.0

Key = tuple[str, str]
"""A model's name and revision."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A loaded model, and what releases it."""

    embedder: Embedder
    close: Callable[[], Awaitable[None]]


Load = Callable[[str], Awaitable[Opened]]
"""Loads a model by its name. Raises ``InferenceError``, and whatever a disk, a device or a library says."""


class ModelShelf:
    """:class:`memoryd.generations.ports.Models`. ``first`` is there for the life of the process, and never released.

    A model is loaded once whoever asks, and it must be the very revision that a generation was made with.
    """

    def __init__(self, first: Embedder, load: Load, *, now: Callable[[], float] = time.monotonic) -> None:
        self._first = first
        self._load = load
        self._now = now
        self._opened: dict[Key, Opened] = {}
        self._loading: dict[Key, asyncio.Task[Embedder]] = {}
        self._began: dict[Key, float] = {}
        self._failed: dict[Key, tuple[float, str]] = {}
        self._left_out: dict[Key, float] = {}

    def ready(self, generation: Generation) -> Embedder | None:
        """The model that made a generation, if it is loaded and is what it was."""
        if _made(self._first.card, generation):
            return self._first
        opened = self._opened.get(_key(generation))
        return opened.embedder if opened is not None and _made(opened.embedder.card, generation) else None

    def missing(self, generation: Generation) -> bool:
        """True when it failed, or a write was embedded without it, in the last half minute, or when it is being loaded for
        longer than a writer waits."""
        key = _key(generation)
        began, left_out = self._began.get(key), self._left_out.get(key)
        if left_out is not None and self._now() < left_out + _RETRY_S:
            return True
        return self._refused(generation) or (began is not None and self._now() >= began + PATIENCE_S)

    async def of(self, generation: Generation) -> Embedder:
        """The model that made a generation, loaded if need be.

        Raises:
            InferenceUnavailable: it cannot be loaded here, or is another revision by now.
        """
        found = self.ready(generation)
        if found is not None:
            return found
        key = _key(generation)
        if self._refused(generation):
            raise InferenceUnavailable(self._failed[key][1])
        # Shielded: who asked first may give up, and the others go on waiting.
        return await asyncio.shield(self._load_of(generation))

    async def soon(self, generation: Generation) -> Embedder:
        """As :meth:`of`, for who can do without: it is not waited for longer than some seconds from when loading began."""
        found = self.ready(generation)
        if found is None and not self._refused(generation):
            task = self._load_of(generation)
            await asyncio.wait([task], timeout=self._began[_key(generation)] + PATIENCE_S - self._now())
            if not task.done():
                raise InferenceUnavailable(f"{generation.model} is still being loaded")
        return await self.of(generation)

    def left_out(self, generation: Generation) -> None:
        """A write that is to be stored now has no vectors of it. Whoever asks is given it all the same, or loads it: it may
        embed again."""
        self._left_out[_key(generation)] = self._now()

    def prepare(self, generation: Generation) -> None:
        """Begin to load its model, for nobody in particular."""
        if self.ready(generation) is None and not self._refused(generation):
            self._load_of(generation)

    async def keep(self, keys: Collection[Key]) -> None:
        """Release the models that are not among these."""
        for key in [key for key in self._opened if key not in keys]:
            log.info("releasing the model %s (%s): no generation needs it", *key)
            await self._opened.pop(key).close()

    async def close(self) -> None:
        """Release everything but the first."""
        for task in list(self._loading.values()):
            task.cancel()
            await asyncio.wait([task])
        await self.keep(())

    def _refused(self, generation: Generation) -> bool:
        """True when it failed in the last half minute."""
        failed = self._failed.get(_key(generation))
        return failed is not None and self._now() < failed[0] + _RETRY_S

    def _load_of(self, generation: Generation) -> asyncio.Task[Embedder]:
        """What loads its model, begun if need be."""
        key = _key(generation)
        if key not in self._loading:
            self._began[key] = self._now()
            self._loading[key] = asyncio.create_task(self._fetch(generation))
            self._loading[key].add_done_callback(lambda done: self._loaded(key, done))
        return self._loading[key]

    async def _fetch(self, generation: Generation) -> Embedder:
        key = _key(generation)
        log.info("loading the model %s (%s) for generation %d", *key, generation.number)
        try:
            opened = await self._load(generation.model)
        except Exception as error:
            if not isinstance(error, InferenceError):
                log.warning("loading the model %s (%s) failed", *key, exc_info=True)
            self._failed[key] = (self._now(), f"{generation.model} cannot be loaded here: {_why(error)}")
            raise InferenceUnavailable(self._failed[key][1]) from error
        if not _made(opened.embedder.card, generation):
            card = opened.embedder.card
            here = f"{card.name} is {card.revision} ({card.dimension}-d) here"
            text = f"{here}, and generation {generation.number} was made with {key[1]}"
            self._failed[key] = (self._now(), text)
            await opened.close()
            raise InferenceUnavailable(text)
        self._failed.pop(key, None)
        self._opened[key] = opened
        return opened.embedder

    def _loaded(self, key: Key, done: asyncio.Task[Embedder]) -> None:
        self._loading.pop(key, None)
        self._began.pop(key, None)
        if not done.cancelled() and done.exception() is not None:
            log.warning("a model could not be loaded: %s", done.exception())


def _key(generation: Generation) -> Key:
    return (generation.model, generation.revision)


def _why(error: Exception) -> str:
    """What a load failed of, without paths of this machine: a full disk, too little memory."""
    if isinstance(error, InferenceError):
        return str(error)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _made(card: ModelCard, generation: Generation) -> bool:
    """True when this model's vectors are comparable with the generation's."""
    return (card.name, card.revision, card.dimension, card.query_prefix, card.passage_prefix) == (
        generation.model,
        generation.revision,
        generation.dimension,
        generation.query_prefix,
        generation.passage_prefix,
    )
