"""The models of one process: found in the cache, loaded into one runtime."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from memoryd.generations.shelf import ModelShelf, Opened
from memoryd.settings import Settings
from retrieval.errors import ModelNotFound
from retrieval.inference import (
    KNOWN_MODELS,
    InferenceRuntime,
    ModelStore,
    ModelTokenizer,
    RuntimeLimits,
    load_embedder,
    load_reranker,
)
from retrieval.inference.registry import ModelRole
from retrieval.packing import HuggingFaceCounter, TokenizerRegistry
from retrieval.passages import Splitter
from retrieval.ports import ModelCard

# Of a request's time: a write is also read, cut, analysed and stored.
_EMBEDDING_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Models:
    """What the use cases need of models. ``runtime`` is the configured embedder and the reranker, ``tokenizer`` that embedder's,
    which cuts texts; ``shelf`` has it too, and the models of the other generations."""

    runtime: InferenceRuntime
    has_reranker: bool
    tokenizer: ModelTokenizer
    splitter: Splitter
    tokenizers: TokenizerRegistry
    shelf: ModelShelf

    @property
    def card(self) -> ModelCard:
        """The embedder's."""
        return self.runtime.card

    @property
    def healthy(self) -> bool:
        """True when the models are loaded and their thread runs."""
        return self.runtime.healthy


@asynccontextmanager
async def open_models(settings: Settings, *, request_s: float | None = None) -> AsyncIterator[Models]:
    """Load and warm up. Raises ``ModelNotFound``, ``InferenceUnavailable``.

    ``request_s``: how long those may wait who ask for an embedding; ``None``: as long as it takes.
    """
    store = ModelStore(settings.model_cache)
    embedder = store.locate(settings.embedding_model)
    reranker = store.locate(settings.rerank_model) if settings.rerank_model else None
    threads = settings.inference_threads
    runtime = InferenceRuntime(
        lambda: load_embedder(embedder, threads=threads),
        (lambda: load_reranker(reranker, threads=threads)) if reranker else None,
        limits=RuntimeLimits(longest_s=None if request_s is None else _EMBEDDING_SHARE * request_s),
    )
    await runtime.start()
    shelf = ModelShelf(runtime, lambda name: open_embedder(settings, name, request_s=request_s))
    try:
        tokenizers = TokenizerRegistry([HuggingFaceCounter(embedder.name, embedder.tokenizer)])
        # Seconds, which the first context would spend on the event loop.
        await asyncio.to_thread(tokenizers.warm)
        tokenizer = ModelTokenizer(embedder.tokenizer)
        yield Models(
            runtime,
            reranker is not None,
            tokenizer,
            Splitter(tokenizer, max_tokens=runtime.card.max_tokens),
            tokenizers,
            shelf,
        )
    finally:
        await shelf.close()
        await runtime.close()


async def open_embedder(settings: Settings, name: str, *, request_s: float | None = None) -> Opened:
    """Load another embedder, with a thread of its own; a known model is fetched where it is not cached.

    Raises ``InferenceError``.
    """
    store = ModelStore(settings.model_cache)
    found = await asyncio.to_thread(store.pull if name in KNOWN_MODELS else store.locate, name)
    runtime = InferenceRuntime(
        lambda: load_embedder(found, threads=settings.inference_threads),
        limits=RuntimeLimits(longest_s=None if request_s is None else _EMBEDDING_SHARE * request_s),
    )
    await runtime.start()
    return Opened(runtime, runtime.close)


async def card_of(settings: Settings, name: str, trusted: bool) -> ModelCard:
    """The description of an embedder, for a generation that is to be made with it.

    ``trusted``: whoever asks may name any model that this machine can load, a folder among them, and have a known one fetched;
    others the known ones that are there. Raises ``ModelNotFound``, ``InferenceUnavailable``.
    """
    known = KNOWN_MODELS.get(name)
    if known is not None and known.role is not ModelRole.EMBEDDER:
        raise ModelNotFound(f"{name} does not embed")
    if not trusted and (known is None or not await asyncio.to_thread(_cached, ModelStore(settings.model_cache), name)):
        embedders = [spec.name for spec in KNOWN_MODELS.values() if spec.role is ModelRole.EMBEDDER]
        raise ModelNotFound(f"this installation has no such embedder at hand; it knows {', '.join(embedders)}")
    opened = await open_embedder(settings, name)
    try:
        return opened.embedder.card
    finally:
        await opened.close()


def embedder_card(settings: Settings) -> ModelCard:
    """The description of the configured embedder. Blocks; loads the model. Raises ``ModelNotFound``."""
    backend = load_embedder(ModelStore(settings.model_cache).locate(settings.embedding_model), threads=1)
    try:
        return backend.card
    finally:
        backend.close()


def pull_models(settings: Settings, progress: Callable[[str], None], names: Sequence[str] | None = None) -> None:
    """Get ``names``, or what the settings name, into the cache. Blocks. Raises ``ModelNotFound``."""
    store = ModelStore(settings.model_cache)
    for name in names or [name for name in (settings.embedding_model, settings.rerank_model) if name]:
        files = store.pull(name, progress=progress)
        progress(f"{name}: {files.folder}")


def known_models(settings: Settings) -> list[str]:
    """One line a known model: whether it is cached, its name and licence."""
    store = ModelStore(settings.model_cache)
    return [f"{'cached' if _cached(store, name) else '-':8}{name}  ({spec.licence})" for name, spec in KNOWN_MODELS.items()]


def _cached(store: ModelStore, name: str) -> bool:
    try:
        store.locate(name)
    except ModelNotFound:
        return False
    return True
