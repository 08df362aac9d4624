"""What is sent to a server that embeds, what comes back, and what it says of its model: a class for each kind of server."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np

from retrieval.errors import InferenceUnavailable, ModelMismatch
from retrieval.filters import JsonValue
from retrieval.inference.remote.endpoint import Answer, Call, Endpoint
from retrieval.inference.remote.kinds import ServerKind
from retrieval.inference.wire import MODEL, RAW, REVISION, SHAPE, from_bytes
from retrieval.ports import Lane, ModelCard
from retrieval.vectors import Vectors

_PROBE: Final = "probe"
_UNIT: Final = 1e-3
_INFO_S: Final = 1.0
"""What computes nothing is answered in some milliseconds."""
_REVISION: Final = 12
"""Characters of a revision that tell it from others: commits have forty."""


class TextKind(StrEnum):
    """Which of a model's prefixes goes before a text."""

    QUERY = "query"
    PASSAGE = "passage"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known of the model before a server is asked. ``served_as``: the name it goes by there; ``None``: not known.

    ``dimension`` 0 and ``revision`` ``None``: what the server says. A server that cannot say keeps what is wanted.
    """

    name: str
    max_tokens: int
    served_as: str | None = None
    revision: str | None = None
    dimension: int = 0
    query_prefix: str = ""
    passage_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """A server's model, and how many texts it takes at once."""

    card: ModelCard
    max_texts: int


class EmbeddingFormat(Protocol):
    """One kind of server."""

    async def describe(self, endpoint: Endpoint, wanted: Wanted, *, timeout_s: float) -> Described:
        """What the server has. Raises ``InferenceError``, and :class:`ModelMismatch` when it is not what is wanted."""

    def call(self, texts: Sequence[str], kind: TextKind, lane: Lane, card: ModelCard) -> Call:
        """The request for these texts, which have no prefix yet."""

    def vectors(self, answer: Answer, count: int, card: ModelCard) -> Vectors:
        """Shape ``(count, dimension)``, of unit length.

        Raises ``ModelMismatch``, and for what cannot be read ``ValueError``, ``LookupError``, ``TypeError``.
        """


class MemorydFormat:
    """memoryd's own: raw floats; the server applies the prefix and cuts, and names model and revision with each answer."""

    async def describe(self, endpoint: Endpoint, wanted: Wanted, *, timeout_s: float) -> Described:
        said = as_object((await endpoint.ask(Call("models"), timeout_s=timeout_s)).json())
        models = [as_object(one) for one in as_list(said["models"])]
        found = next((one for one in models if one.get("name") == wanted.name and one.get("role") == "embedder"), None)
        if found is None:
            raise ModelMismatch(f"{endpoint.name} does not serve the embedder {wanted.name}.")
        card = ModelCard(
            name=wanted.name,
            revision=str(found["revision"]),
            dimension=as_whole(found["dimension"]),
            max_tokens=as_whole(found["max_tokens"]),
            query_prefix=str(found["query_prefix"]),
            passage_prefix=str(found["passage_prefix"]),
        )
        return Described(_checked(card, wanted, endpoint), as_whole(as_object(said["limits"])["max_texts"]))

    def call(self, texts: Sequence[str], kind: TextKind, lane: Lane, card: ModelCard) -> Call:
        body: dict[str, JsonValue] = {"texts": list(texts), "kind": kind.value, "lane": lane.value, "model": card.name}
        return Call("embed", body, {"Accept": RAW})

    def vectors(self, answer: Answer, count: int, card: ModelCard) -> Vectors:
        self._check(answer, card)
        return _normalised(from_bytes(answer.body, answer.headers[SHAPE]), count, card)

    def tokenizer(self, answer: Answer, card: ModelCard) -> bytes:
        """The body of ``GET /models/{name}/tokenizer``. Raises ``LookupError``, ``ModelMismatch``."""
        self._check(answer, card)
        return answer.body

    def _check(self, answer: Answer, card: ModelCard) -> None:
        model, revision = answer.headers[MODEL], answer.headers[REVISION]
        if (model, revision) != (card.name, card.revision):
            raise ModelMismatch(f"the answer is of {model} ({revision}), not of {card.name} ({card.revision})")


class TeiFormat:
    """text-embeddings-inference: ``GET /info``, ``POST /embed``. The server cuts; prefixes are ours to apply."""

    async def describe(self, endpoint: Endpoint, wanted: Wanted, *, timeout_s: float) -> Described:
        info = as_object((await endpoint.ask(Call("info", expected_s=_INFO_S), timeout_s=timeout_s)).json())
        name, revision = info.get("model_id"), info.get("model_sha")
        if wanted.served_as is not None and name != wanted.served_as:
            raise ModelMismatch(f"{endpoint.name} serves {name}, not {wanted.served_as}.")
        told = revision if isinstance(revision, str) else None
        dimension = wanted.dimension
        # Of a model that is known nothing is computed, which would wait behind what the server has to do: vectors of another
        # dimension are noticed when they come.
        if not dimension or wanted.revision is None:
            probe = self.call([_PROBE], TextKind.PASSAGE, Lane.INTERACTIVE, _card(wanted, 0, None))
            rows = as_list((await endpoint.ask(probe, timeout_s=timeout_s)).json())
            dimension = len(as_list(rows[0]))
        card = _card(wanted, dimension, told, info.get("max_input_length"))
        most = info.get("max_client_batch_size")
        return Described(_checked(card, wanted, endpoint), as_whole(most) if most is not None else 32)

    def call(self, texts: Sequence[str], kind: TextKind, lane: Lane, card: ModelCard) -> Call:
        return Call("embed", {"inputs": _prefixed(texts, kind, card), "truncate": True, "normalize": True})

    def vectors(self, answer: Answer, count: int, card: ModelCard) -> Vectors:
        return _normalised(np.asarray(answer.json(), dtype=np.float32), count, card)


class OpenAiFormat:
    """``POST /embeddings`` below the base URL. Prefixes are ours to apply, and texts are cut before they come here."""

    def __init__(self, served_as: str) -> None:
        self._served_as = served_as

    async def describe(self, endpoint: Endpoint, wanted: Wanted, *, timeout_s: float) -> Described:
        probe = self.call([_PROBE], TextKind.PASSAGE, Lane.INTERACTIVE, _card(wanted, 0, None))
        body = as_object((await endpoint.ask(probe, timeout_s=timeout_s)).json())
        vector = _decoded(as_object(as_list(body["data"])[0])["embedding"])
        return Described(_checked(_card(wanted, len(vector), None), wanted, endpoint), 256)

    def call(self, texts: Sequence[str], kind: TextKind, lane: Lane, card: ModelCard) -> Call:
        prefixed = _prefixed(texts, kind, card)
        return Call("embeddings", {"model": self._served_as, "input": prefixed, "encoding_format": "base64"})

    def vectors(self, answer: Answer, count: int, card: ModelCard) -> Vectors:
        body = as_object(answer.json())
        said = body.get("model")
        # Some add a version to the name, or the folder they read it from.
        if isinstance(said, str) and said and self._served_as not in said:
            raise ModelMismatch(f"the answer is of {said}, not of {self._served_as}")
        rows = sorted((as_object(one) for one in as_list(body["data"])), key=lambda one: as_whole(one["index"]))
        if [as_whole(one["index"]) for one in rows] != list(range(count)):
            raise ValueError("the vectors are not those of the texts")
        return _normalised(np.stack([_decoded(one["embedding"]) for one in rows]), count, card)


def format_of(kind: ServerKind, served_as: str) -> EmbeddingFormat:
    """The format of that kind of server."""
    if kind is ServerKind.MEMORYD:
        return MemorydFormat()
    return TeiFormat() if kind is ServerKind.TEI else OpenAiFormat(served_as)


def _card(wanted: Wanted, dimension: int, revision: str | None, window: JsonValue = None) -> ModelCard:
    return ModelCard(
        name=wanted.name,
        revision=(revision or wanted.revision or "unversioned")[:_REVISION],
        dimension=dimension,
        max_tokens=min(wanted.max_tokens, as_whole(window)) if window is not None else wanted.max_tokens,
        query_prefix=wanted.query_prefix,
        passage_prefix=wanted.passage_prefix,
    )


def _checked(card: ModelCard, wanted: Wanted, endpoint: Endpoint) -> ModelCard:
    """The card, if it is of the wanted model."""
    if wanted.dimension and card.dimension != wanted.dimension:
        raise ModelMismatch(f"{endpoint.name} gives {card.dimension} dimensions, {wanted.dimension} are wanted.")
    if wanted.revision is not None and card.revision != wanted.revision[:_REVISION]:
        raise ModelMismatch(f"{endpoint.name} has revision {card.revision} of {card.name}, {wanted.revision} is wanted.")
    return card


def _prefixed(texts: Sequence[str], kind: TextKind, card: ModelCard) -> list[JsonValue]:
    prefix = card.query_prefix if kind is TextKind.QUERY else card.passage_prefix
    return [prefix + text for text in texts]


def _normalised(vectors: Vectors, count: int, card: ModelCard) -> Vectors:
    """Of unit length, whatever the server's settings are; the right number of the right size."""
    if vectors.shape != (count, card.dimension):
        raise ModelMismatch(f"the answer has the shape {vectors.shape}, not ({count}, {card.dimension})")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise InferenceUnavailable("The server gave something that is not a vector.")
    if np.abs(norms - 1.0).max(initial=0.0) < _UNIT:
        return vectors  # to the bit as the server computed them
    unit: Vectors = (vectors / norms).astype(np.float32, copy=False)
    return unit


def _decoded(embedding: JsonValue) -> Vectors:
    """Base64 as asked for, or numbers, which some servers give all the same."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(embedding, dtype=np.float32)


def as_object(value: JsonValue) -> dict[str, JsonValue]:
    """An object of an answer. Raises ``TypeError``."""
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def as_list(value: JsonValue) -> list[JsonValue]:
    """A list of an answer. Raises ``TypeError``."""
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def as_whole(value: JsonValue) -> int:
    """A whole number of an answer. Raises ``TypeError``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value
