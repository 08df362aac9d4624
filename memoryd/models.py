"""The models of one process: found in the cache, loaded into one runtime."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

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
from retrieval.packing import HuggingFaceCounter, TokenizerRegistry
from retrieval.passages import Splitter
from retrieval.ports import ModelCard

# Of a request's time: a write is also read, cut, analysed and stored.
_EMBEDDING_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Models:
    """What the use cases need of models. ``runtime`` is embedder and reranker, ``tokenizer`` the embedder's."""

    runtime: InferenceRuntime
    has_reranker: bool
    tokenizer: ModelTokenizer
    splitter: Splitter
    tokenizers: TokenizerRegistry

    @property
    def card(self) -> ModelCard:
        """The embedder's."""
        return self.runtime.card

    @property
    def healthy(self) -> bool:
        """True when the models are loaded and their thread runs."""
        return self.runtime.healthy


@asynccontextmanager
async def open_models(settings: Settings, *, request_s: float | None = None, packs: bool = True) -> AsyncIterator[Models]:
    """Load and warm up. Raises ``ModelNotFound``, ``InferenceUnavailable``.

    ``request_s``: how long those may wait who ask for an embedding; ``None``: as long as it takes. ``packs``: the process packs
    contexts, and needs the tokenizers of language models from its first request on.
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
    try:
        tokenizers = TokenizerRegistry([HuggingFaceCounter(embedder.name, embedder.tokenizer)])
        if packs:
            # Seconds, which the first context would spend on the event loop.
            await asyncio.to_thread(tokenizers.warm)
        tokenizer = ModelTokenizer(embedder.tokenizer)
        yield Models(
            runtime,
            reranker is not None,
            tokenizer,
            Splitter(tokenizer, max_tokens=runtime.card.max_tokens),
            tokenizers,
        )
    finally:
        await runtime.close()


def embedder_card(settings: Settings) -> ModelCard:
    """The description of the configured embedder. Blocks; loads the model. Raises ``ModelNotFound``."""
    backend = load_embedder(ModelStore(settings.model_cache).locate(settings.embedding_model), threads=1)
    try:
        return backend.card
    finally:
        backend.close()


def described_card(settings: Settings) -> ModelCard:
    """As :func:`embedder_card`; a known model's is read from its files, and nothing is loaded."""
    files = ModelStore(settings.model_cache).locate(settings.embedding_model)
    spec = files.spec
    if spec is None:
        return embedder_card(settings)
    return ModelCard(
        name=files.name,
        revision=files.revision,
        dimension=spec.dimension,
        max_tokens=files.max_tokens,
        query_prefix=spec.query_prefix,
        passage_prefix=spec.passage_prefix,
    )


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
