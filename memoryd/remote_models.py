"""Embedders and rerankers on other machines, as the settings name them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from memoryd.errors import InvalidRequest
from memoryd.settings import Settings
from retrieval.errors import ModelNotFound
from retrieval.inference import KNOWN_MODELS, ModelFiles, ModelStore, ModelTokenizer
from retrieval.inference.remote.embedder import Patience, RemoteEmbedder
from retrieval.inference.remote.endpoint import Endpoint
from retrieval.inference.remote.formats import MemorydFormat, Wanted, format_of
from retrieval.inference.remote.kinds import ServerKind
from retrieval.inference.remote.reranker import RemoteReranker
from retrieval.ports import ModelCard

_WINDOW = 512
_BULK = 10  # times the timeout of a question
_SPECIAL_TOKENS = 2


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A remote embedder, and a tokenizer file of its model."""

    embedder: RemoteEmbedder
    tokenizer: Path


def embedding_servers(settings: Settings) -> list[str]:
    """URLs, best first; empty: the models are this process's own."""
    return _listed(settings.embedding_urls)


def rerank_servers(settings: Settings) -> list[str]:
    """URLs, best first. memoryd's servers do both, so those of the embedder are taken where none are named."""
    named = _listed(settings.rerank_urls)
    return named or (embedding_servers(settings) if settings.embedding_kind is ServerKind.MEMORYD else [])


@asynccontextmanager
async def open_remote_embedder(settings: Settings) -> AsyncIterator[RemoteModel]:
    """Learn what the servers have. Raises ``InferenceUnavailable``, ``ModelMismatch``, ``ModelNotFound``, ``InvalidRequest``."""
    files = await asyncio.to_thread(_located, settings)
    local = settings.embedding_tokenizer or (files.tokenizer if files is not None else None)
    own = settings.embedding_kind is ServerKind.MEMORYD
    if local is None and not own:
        raise ModelNotFound(
            f"{settings.embedding_model!r} is not in the cache, and its tokenizer is needed to cut texts: "
            "set MEMORYD_EMBEDDING_TOKENIZER"
        )
    wanted = _wanted(settings, files)
    form = format_of(settings.embedding_kind, settings.embedding_served_as or settings.embedding_model)
    token = settings.embedding_token.get_secret_value() if settings.embedding_token else None
    embedder = RemoteEmbedder(
        [_endpoint(url, token) for url in embedding_servers(settings)],
        form,
        wanted,
        patience=Patience(settings.inference_timeout_s, _BULK * settings.inference_timeout_s),
        cut=None if own or local is None else _cutter(local, wanted.max_tokens),
    )
    try:
        await embedder.start(within_s=settings.inference_start_s)
        with tempfile.TemporaryDirectory(prefix="memoryd-tokenizer-") as folder:
            # What is in the cache may be another revision's.
            unknown = files is None or files.revision != embedder.card.revision
            if isinstance(form, MemorydFormat) and settings.embedding_tokenizer is None and unknown:
                local = Path(folder) / "tokenizer.json"
                await asyncio.to_thread(local.write_bytes, await embedder.tokenizer(form))
            if local is None:
                raise ModelNotFound(f"no tokenizer of {settings.embedding_model!r}")
            yield RemoteModel(embedder, local)
    finally:
        await embedder.close()


@asynccontextmanager
async def open_remote_reranker(settings: Settings) -> AsyncIterator[RemoteReranker]:
    """Nothing is asked yet: without it recalls go on."""
    named = _listed(settings.rerank_urls)
    kind = settings.rerank_kind if named else settings.embedding_kind
    if kind is ServerKind.OPENAI:
        raise InvalidRequest("MEMORYD_RERANK_KIND: OpenAI has no format for reranking; use memoryd or tei")
    token = settings.rerank_token or (None if named else settings.embedding_token)
    endpoints = [_endpoint(url, token.get_secret_value() if token else None) for url in rerank_servers(settings)]
    reranker = RemoteReranker(endpoints, kind, settings.rerank_model, timeout_s=settings.inference_timeout_s)
    try:
        yield reranker
    finally:
        await reranker.close()


async def remote_card(settings: Settings) -> ModelCard:
    """The description of the remote embedder. Raises as :func:`open_remote_embedder`."""
    async with open_remote_embedder(settings) as model:
        return model.embedder.card


def _wanted(settings: Settings, files: ModelFiles | None) -> Wanted:
    spec = KNOWN_MODELS.get(settings.embedding_model)
    window = files.max_tokens if files is not None else spec.max_tokens if spec is not None else _WINDOW
    query, passage = settings.embedding_query_prefix, settings.embedding_passage_prefix
    return Wanted(
        name=settings.embedding_model,
        max_tokens=window,
        served_as=settings.embedding_served_as or settings.embedding_model,
        revision=settings.embedding_revision,
        query_prefix=query if query is not None else spec.query_prefix if spec is not None else "",
        passage_prefix=passage if passage is not None else spec.passage_prefix if spec is not None else "",
    )


def _located(settings: Settings) -> ModelFiles | None:
    try:
        return ModelStore(settings.model_cache).locate(settings.embedding_model)
    except ModelNotFound:
        return None


def _cutter(tokenizer: Path, max_tokens: int) -> Callable[[str], str]:
    """Shortens a text to the window, as the model's own server would."""
    reader = ModelTokenizer(tokenizer)
    most = max_tokens - _SPECIAL_TOKENS

    def cut(text: str) -> str:
        if len(text) <= most:  # a token is a character at least
            return text
        offsets = reader.offsets(text)
        return text if len(offsets) <= most else text[: offsets[most - 1][1]]

    return cut


def _endpoint(url: str, token: str | None) -> Endpoint:
    if not url.startswith(("http://", "https://")):
        raise InvalidRequest(f"{url!r} is not the address of an inference server: it begins with http:// or https://")
    return Endpoint(url, token=token)


def _listed(urls: str) -> list[str]:
    return [url.strip() for url in urls.split(",") if url.strip()]
