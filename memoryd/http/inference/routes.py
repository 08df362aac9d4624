"""What the inference server's routes do."""

from collections.abc import Callable, Sequence

from pydantic import JsonValue
from starlette.responses import FileResponse, JSONResponse, Response

from memoryd import __version__
from memoryd.errors import InvalidRequest, PayloadTooLarge, ServiceError
from memoryd.http.inference.answers import identity, json_ranking, json_vectors, openai_vectors, raw_vectors
from memoryd.http.inference.bodies import embed_body, openai_body, rerank_body
from memoryd.http.inference.handling import Asked
from memoryd.http.inference.metrics import Metrics
from memoryd.served_models import Served, ServedEmbedder, raw_score
from retrieval.inference.remote.formats import TextKind
from retrieval.inference.wire import RAW
from retrieval.ports import Lane, ModelCard

_PAIRS = "rerank"
_QUESTION_TEXTS = 16
"""A request of so many texts at most, in a format without lanes, is taken for one that somebody waits for."""


class Routes:
    """``models`` gives what is loaded; it raises ``InferenceUnavailable`` until then."""

    def __init__(self, models: Callable[[], Served], metrics: Metrics, *, max_texts: int) -> None:
        self._models = models
        self._metrics = metrics
        self._max_texts = max_texts

    async def embed(self, asked: Asked) -> Response:
        """``POST /embed``: memoryd's format and text-embeddings-inference's."""
        body = embed_body(asked.body, self._max_texts)
        model = self._models().embedder(body.model)
        _dimensions(body.dimensions, model.card)
        prefix = _prefix(model.card, body.kind)
        if not body.cut:
            _uncut(await model.lengths(body.texts, prefix=prefix), model.card, "inputs", PayloadTooLarge)
        lane = body.lane if body.own else _lane(body.texts)
        vectors = await model.embed(body.texts, prefix=prefix, lane=lane, owner=asked.owner, timeout_s=asked.left_s)
        self._count(model, lane, body.texts)
        if _wants_raw(asked, default=body.own):
            return raw_vectors(vectors, model.card)
        return await json_vectors(vectors, model.card, own=body.own)

    async def rerank(self, asked: Asked) -> Response:
        """``POST /rerank``: text-embeddings-inference's format, with a ``model`` where there are several."""
        body = rerank_body(asked.body, self._max_texts)
        model = self._models().reranker(body.model)
        scores = await model.score(body.query, body.texts, owner=asked.owner, timeout_s=asked.left_s)
        characters = sum(map(len, body.texts))
        self._metrics.computed(model.name, _PAIRS, len(body.texts), characters)
        rows: list[dict[str, JsonValue]] = []
        for index in sorted(range(len(scores)), key=lambda one: (-scores[one], one)):
            row: dict[str, JsonValue] = {"index": index, "score": raw_score(scores[index]) if body.raw else scores[index]}
            if body.with_texts:
                row["text"] = body.texts[index]
            rows.append(row)
        of = ModelCard(model.name, model.revision, 0, 0)
        return await json_ranking(rows, of, characters=characters if body.with_texts else 0)

    async def openai(self, asked: Asked) -> Response:
        """``POST /v1/embeddings``: the texts as they are, without a prefix."""
        body = openai_body(asked.body, self._max_texts)
        model = self._models().embedder(body.model)
        _dimensions(body.dimensions, model.card)
        lengths = await model.lengths(body.texts, prefix="")
        _uncut(lengths, model.card, "input", InvalidRequest)
        lane = _lane(body.texts)
        vectors = await model.embed(body.texts, prefix="", lane=lane, owner=asked.owner, timeout_s=asked.left_s)
        self._count(model, lane, body.texts)
        return await openai_vectors(vectors, model.card, coded=body.base64, tokens=sum(lengths))

    async def models(self, asked: Asked) -> Response:
        """``GET /models``: everything that a client must know to use them, and to refuse them."""
        served = self._models()
        models: list[JsonValue] = [_described(one.card) for one in served.embedders.values()]
        models += [{"name": one.name, "role": "reranker", "revision": one.revision} for one in served.rerankers.values()]
        return JSONResponse({"models": models, "limits": {"max_texts": self._max_texts}, "version": __version__})

    async def tokenizer(self, asked: Asked) -> Response:
        """``GET /models/{name}/tokenizer``: ``tokenizer.json``, for clients that cut and count texts themselves."""
        model = self._models().embedder(asked.request.path_params["name"])
        return FileResponse(model.tokenizer, media_type="application/json", headers=identity(model.card))

    async def openai_models(self, asked: Asked) -> Response:
        """``GET /v1/models``."""
        names = list(self._models().embedders)
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "memoryd"} for name in names]
        return JSONResponse({"object": "list", "data": data})

    async def info(self, asked: Asked) -> Response:
        """``GET /info``: what clients of text-embeddings-inference look at; of the first embedder, or else reranker."""
        served = self._models()
        said: dict[str, JsonValue] = {"version": __version__, "max_client_batch_size": self._max_texts, "auto_truncate": True}
        if served.embedders:
            card = served.embedder(None).card
            said |= {"model_id": card.name, "model_sha": card.revision, "max_input_length": card.max_tokens}
            said["model_type"] = {"embedding": {"pooling": "model"}}
        else:
            reranker = served.reranker(None)
            said |= {"model_id": reranker.name, "model_sha": reranker.revision, "model_type": {"reranker": {}}}
        return JSONResponse(said)

    def _count(self, model: ServedEmbedder, lane: Lane, texts: Sequence[str]) -> None:
        self._metrics.computed(model.card.name, lane, len(texts), sum(map(len, texts)))


def _described(card: ModelCard) -> JsonValue:
    return {
        "name": card.name,
        "role": "embedder",
        "revision": card.revision,
        "dimension": card.dimension,
        "max_tokens": card.max_tokens,
        "query_prefix": card.query_prefix,
        "passage_prefix": card.passage_prefix,
        "normalized": True,
    }


def _prefix(card: ModelCard, kind: TextKind | None) -> str:
    """Of texts without a kind: none."""
    if kind is None:
        return ""
    return card.query_prefix if kind is TextKind.QUERY else card.passage_prefix


def _lane(texts: Sequence[str]) -> Lane:
    """Of a format that cannot say."""
    return Lane.INTERACTIVE if len(texts) <= _QUESTION_TEXTS else Lane.BULK


def _dimensions(wanted: int | None, card: ModelCard) -> None:
    if wanted is not None and wanted != card.dimension:
        raise InvalidRequest(f"dimensions: {card.name} has {card.dimension}, and its vectors are not shortened")


def _uncut(lengths: Sequence[int], card: ModelCard, name: str, refusal: type[ServiceError]) -> None:
    """Raises ``refusal`` for a text that would be cut: each format has its own status for it."""
    for place, length in enumerate(lengths):
        if length > card.max_tokens:
            raise refusal(f"{name}.{place}: is longer than the {card.max_tokens} tokens that {card.name} reads")


def _wants_raw(asked: Asked, *, default: bool) -> bool:
    """What ``Accept`` names; where it names neither, the format's own."""
    accepted = asked.request.headers.get("accept", "").lower()
    if RAW in accepted:
        return True
    return default and "application/json" not in accepted
