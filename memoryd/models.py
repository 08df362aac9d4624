"""The models of one process: found in the cache and loaded into one runtime, or on the servers that the settings name."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from memoryd.generations.shelf import ModelShelf, Opened
from memoryd.remote_models import (
    embedding_servers,
    open_remote_embedder,
    open_remote_reranker,
    remote_card,
    rerank_servers,
)
from memoryd.settings import Settings
from retrieval.errors import InferenceError, ModelMismatch, ModelNotFound
from retrieval.inference import (
    KNOWN_MODELS,
    InferenceRuntime,
    ModelFiles,
    ModelStore,
    ModelTokenizer,
    RuntimeLimits,
    load_embedder,
    load_reranker,
)
from retrieval.inference.absent import AbsentEmbedder
from retrieval.inference.composed import Composed, Inference
from retrieval.inference.registry import ModelRole
from retrieval.inference.remote.kinds import ServerKind
from retrieval.packing import HuggingFaceCounter, TokenizerRegistry
from retrieval.passages import Splitter
from retrieval.ports import ModelCard, Reranker

log = logging.getLogger(__name__)

# Of a request's time: a write is also read, cut, analysed and stored.
_EMBEDDING_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Models:
    """What the use cases need of models. ``runtime`` is the configured embedder and the reranker, ``tokenizer`` that embedder's,
    which cuts texts; ``shelf`` has it too, and the models of the other generations.

    ``local``: the embedder is this process's own, so that without it the process is of no use.
    """

    runtime: Inference
    has_reranker: bool
    tokenizer: ModelTokenizer
    splitter: Splitter
    tokenizers: TokenizerRegistry
    shelf: ModelShelf
    local: bool = True

    @property
    def card(self) -> ModelCard:
        """The embedder's."""
        return self.runtime.card

    @property
    def embeds(self) -> bool:
        """True when the embedder is loaded and computes, or a server may be asked."""
        return self.runtime.embeds

    @property
    def reranks(self) -> bool:
        """The same of the reranker, where there is one."""
        return self.runtime.reranks


@asynccontextmanager
async def open_models(settings: Settings, *, request_s: float | None = None, packs: bool = True) -> AsyncIterator[Models]:
    """Load and warm up, or learn what the servers have. Raises ``ModelNotFound``, ``InferenceUnavailable``, ``ModelMismatch``.

    ``request_s``: how long those may wait who ask for an embedding; ``None``: as long as it takes. ``packs``: the process packs
    contexts, and needs the tokenizers of language models from its first request on.
    """
    async with AsyncExitStack() as stack:
        runtime, name, path = await _opened(settings, stack, request_s)
        shelf = ModelShelf(runtime, lambda name: open_embedder(settings, name, request_s=request_s))
        stack.push_async_callback(shelf.close)
        tokenizers = TokenizerRegistry([HuggingFaceCounter(name, path)])
        if packs:
            # Seconds, which the first context would spend on the event loop.
            await asyncio.to_thread(tokenizers.warm)
        tokenizer = ModelTokenizer(path)
        yield Models(
            runtime,
            bool(settings.rerank_model),
            tokenizer,
            Splitter(tokenizer, max_tokens=runtime.card.max_tokens),
            tokenizers,
            shelf,
            local=not embedding_servers(settings),
        )


async def _opened(settings: Settings, stack: AsyncExitStack, request_s: float | None) -> tuple[Inference, str, Path]:
    """Embedder and reranker, with the name and the tokenizer of the embedder."""
    reranking = bool(settings.rerank_model)
    if not embedding_servers(settings):
        elsewhere = reranking and bool(rerank_servers(settings))
        files = ModelStore(settings.model_cache).locate(settings.embedding_model)
        here = settings.rerank_model if reranking and not elsewhere else ""
        runtime = await stack.enter_async_context(_local(settings, files, here, request_s))
        if not elsewhere:
            return runtime, files.name, files.tokenizer
        reranker = await stack.enter_async_context(open_remote_reranker(settings))
        both = Composed(runtime, reranker, embeds=lambda: runtime.embeds, reranks=lambda: reranker.usable)
        return both, files.name, files.tokenizer
    remote = await stack.enter_async_context(open_remote_embedder(settings))
    embedder = remote.embedder
    scorer: Reranker | None = None
    reranks: Callable[[], bool] | None = None
    if reranking and rerank_servers(settings):
        servers = await stack.enter_async_context(open_remote_reranker(settings))
        scorer, reranks = servers, lambda: servers.usable
    elif reranking:
        own = await stack.enter_async_context(_local(settings, None, settings.rerank_model, request_s))
        scorer, reranks = own, lambda: own.reranks
    composed = Composed(embedder, scorer, embeds=lambda: embedder.usable, reranks=reranks)
    return composed, embedder.card.name, remote.tokenizer


@asynccontextmanager
async def _local(
    settings: Settings, embedder: ModelFiles | None, rerank_model: str, request_s: float | None
) -> AsyncIterator[InferenceRuntime]:
    """One runtime of this process. Without ``embedder`` it only reranks."""
    reranker = ModelStore(settings.model_cache).locate(rerank_model) if rerank_model else None
    threads = settings.inference_threads
    runtime = InferenceRuntime(
        (lambda: load_embedder(embedder, threads=threads)) if embedder else AbsentEmbedder,
        (lambda: load_reranker(reranker, threads=threads)) if reranker else None,
        limits=RuntimeLimits(longest_s=None if request_s is None else _EMBEDDING_SHARE * request_s),
    )
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.close()


async def open_embedder(settings: Settings, name: str, *, request_s: float | None = None) -> Opened:
    """Another embedder: of memoryd's servers, where the settings name them and they have it, or else loaded here.

    What is loaded here has a thread of its own, and a known model is fetched where it is not cached. Raises ``InferenceError``.
    """
    if _asks_servers(settings):
        try:
            return await _open_served(settings, name)
        except ModelMismatch as error:
            log.info("%s is loaded here: %s", name, error)
    store = ModelStore(settings.model_cache)
    found = await asyncio.to_thread(store.pull if name in KNOWN_MODELS else store.locate, name)
    runtime = InferenceRuntime(
        lambda: load_embedder(found, threads=settings.inference_threads),
        limits=RuntimeLimits(longest_s=None if request_s is None else _EMBEDDING_SHARE * request_s),
    )
    await runtime.start()
    return Opened(runtime, runtime.close)


def _asks_servers(settings: Settings) -> bool:
    """Other servers than memoryd's have one model each."""
    return settings.embedding_kind is ServerKind.MEMORYD and bool(embedding_servers(settings))


async def _open_served(settings: Settings, name: str) -> Opened:
    """Raises ``ModelMismatch`` when the servers do not have it, ``InferenceUnavailable`` when none answers."""
    configured = ("served_as", "revision", "tokenizer", "query_prefix", "passage_prefix")
    other = {"embedding_model": name, "inference_start_s": 0.0} | {f"embedding_{one}": None for one in configured}
    async with AsyncExitStack() as stack:
        remote = await stack.enter_async_context(open_remote_embedder(settings.model_copy(update=other)))
        return Opened(remote.embedder, stack.pop_all().aclose)


async def card_of(settings: Settings, name: str, trusted: bool) -> ModelCard:
    """The description of an embedder, for a generation that is to be made with it.

    ``trusted``: whoever asks may name any model that this machine can load, a folder among them, and have a known one fetched;
    others the known ones that are there. Other processes will know it by the name of the description alone.

    Raises ``ModelNotFound``, ``InferenceUnavailable``.
    """
    known = KNOWN_MODELS.get(name)
    if known is not None and known.role is not ModelRole.EMBEDDER:
        raise ModelNotFound(f"{name} does not embed")
    if trusted or (known is not None and await asyncio.to_thread(_cached, ModelStore(settings.model_cache), name)):
        opened = await _opened_to_describe(settings, name)
    elif known is not None and _asks_servers(settings):
        try:
            opened = await _open_served(settings, name)
        except ModelMismatch as error:
            raise _not_at_hand() from error
    else:
        raise _not_at_hand()
    card = await _described(opened)
    if name != settings.embedding_model and not await _found_again(settings, name, card):
        raise ModelNotFound(
            f"a generation's model is loaded by its name, and {card.name!r} is not found, or is another model: put the folder, "
            f"or a link to it, into {settings.model_cache} under a name of its own, on every machine of the API and the workers"
        )
    return card


async def _opened_to_describe(settings: Settings, name: str) -> Opened:
    try:
        return await open_embedder(settings, name)
    except ModelNotFound as error:
        if embedding_servers(settings) and not _asks_servers(settings):
            kind = settings.embedding_kind
            raise ModelNotFound(
                f"servers that speak {kind} are asked for the configured model alone, any other is loaded here, and {error}"
            ) from error
        raise


async def _found_again(settings: Settings, name: str, card: ModelCard) -> bool:
    """True when every process will find this very model by the name of its description: in the cache or on servers, and not in
    the folder that this process happens to run in. It may have been asked for by another ``name``, such as a folder's path."""
    try:
        here = (
            card.name in KNOWN_MODELS or await asyncio.to_thread(ModelStore(settings.model_cache).cached, card.name) is not None
        )
        if here and name == card.name:
            return True
        if not here and not _asks_servers(settings):
            return False
        opened = await (open_embedder if here else _open_served)(settings, card.name)
        return await _described(opened) == card
    except InferenceError:
        return False


async def _described(opened: Opened) -> ModelCard:
    try:
        return opened.embedder.card
    finally:
        await opened.close()


def _not_at_hand() -> ModelNotFound:
    embedders = [spec.name for spec in KNOWN_MODELS.values() if spec.role is ModelRole.EMBEDDER]
    return ModelNotFound(f"this installation has no such embedder at hand; it knows {', '.join(embedders)}")


def embedder_card(settings: Settings) -> ModelCard:
    """The description of the configured embedder. Blocks; loads the model, or asks its servers.

    Raises ``ModelNotFound``, ``InferenceUnavailable``, ``ModelMismatch``.
    """
    if embedding_servers(settings):
        # In a thread of its own, since the caller's may have an event loop that runs.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(remote_card(settings))).result()
    backend = load_embedder(ModelStore(settings.model_cache).locate(settings.embedding_model), threads=1)
    try:
        return backend.card
    finally:
        backend.close()


def described_card(settings: Settings) -> ModelCard:
    """As :func:`embedder_card`; a known model that is loaded here is described by its files, and nothing is loaded."""
    if embedding_servers(settings):
        return embedder_card(settings)
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
    """Get ``names``, or what this machine needs of what the settings name, into the cache. Blocks. Raises ``ModelNotFound``."""
    store = ModelStore(settings.model_cache)
    wanted = names or _needed(settings)
    if not wanted:
        progress("nothing to pull: servers have the models")
    for name in wanted:
        files = store.pull(name, progress=progress)
        progress(f"{name}: {files.folder}")


def _needed(settings: Settings) -> list[str]:
    """Models whose files are read here: what is on servers computes there, and its tokenizer may be known without them."""
    tokenized = settings.embedding_kind is ServerKind.MEMORYD or settings.embedding_tokenizer is not None
    needed = [] if embedding_servers(settings) and tokenized else [settings.embedding_model]
    return needed + ([settings.rerank_model] if settings.rerank_model and not rerank_servers(settings) else [])


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
