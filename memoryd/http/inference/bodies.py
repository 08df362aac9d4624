"""What may be sent, read by hand: three formats share routes, and a list of a million wrong texts is refused at the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pydantic import JsonValue

from memoryd.errors import InvalidRequest, PayloadTooLarge
from retrieval.inference.remote.formats import TextKind
from retrieval.ports import Lane

E = TypeVar("E", bound=StrEnum)

_OWN = frozenset({"texts", "model", "kind", "lane"})
_TEI = frozenset({"inputs", "truncate", "normalize", "truncation_direction", "prompt_name", "dimensions"})
_RERANK = frozenset({"query", "texts", "model", "raw_scores", "return_text", "truncate", "truncation_direction"})
_OPENAI = frozenset({"input", "model", "encoding_format", "dimensions", "user"})
_SHOWN = 3
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class EmbedBody:
    """``POST /embed``. ``own``: in memoryd's format, which is told by its fields. ``kind`` ``None``: as the texts are."""

    texts: list[str]
    own: bool
    model: str | None
    kind: TextKind | None
    lane: Lane
    cut: bool
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class RerankBody:
    """``POST /rerank``."""

    query: str
    texts: list[str]
    model: str | None
    raw: bool
    with_texts: bool


@dataclass(frozen=True, slots=True)
class OpenAiBody:
    """``POST /v1/embeddings``."""

    texts: list[str]
    model: str | None
    base64: bool
    dimensions: int | None


def embed_body(given: JsonValue, most: int) -> EmbedBody:
    """Raises ``InvalidRequest``, ``PayloadTooLarge``."""
    body = _known(given, _OWN | _TEI)
    if ("texts" in body) == ("inputs" in body):
        raise InvalidRequest("texts: send texts, or inputs, and one of them")
    if body.get("normalize", True) is not True:
        raise InvalidRequest("normalize: vectors are of unit length here, always")
    _right(body)
    own = bool(_OWN & body.keys())
    kind = _one_of(body, "kind", TextKind) if "kind" in body else _one_of(body, "prompt_name", TextKind)
    if own and kind is None:
        kind = TextKind.PASSAGE
    default = Lane.BULK if own and kind is TextKind.PASSAGE else Lane.INTERACTIVE
    return EmbedBody(
        texts=_texts(body, "texts" if "texts" in body else "inputs", most),
        own=own,
        model=_text(body, "model"),
        kind=kind,
        lane=_one_of(body, "lane", Lane) or default,
        cut=_flag(body, "truncate", default=True),
        dimensions=_whole(body, "dimensions"),
    )


def rerank_body(given: JsonValue, most: int) -> RerankBody:
    """Raises ``InvalidRequest``, ``PayloadTooLarge``."""
    body = _known(given, _RERANK)
    _right(body)
    query = _text(body, "query")
    if query is None:
        raise InvalidRequest("query: is missing")
    return RerankBody(
        query=query,
        texts=_texts(body, "texts", most),
        model=_text(body, "model"),
        raw=_flag(body, "raw_scores", default=False),
        with_texts=_flag(body, "return_text", default=False),
    )


def openai_body(given: JsonValue, most: int) -> OpenAiBody:
    """Raises ``InvalidRequest``, ``PayloadTooLarge``."""
    body = _known(given, _OPENAI)
    form = body.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise InvalidRequest("encoding_format: is float or base64")
    return OpenAiBody(_texts(body, "input", most), _text(body, "model"), form == "base64", _whole(body, "dimensions"))


def _known(given: JsonValue, names: frozenset[str]) -> Mapping[str, JsonValue]:
    """An object with these fields and no others. What is null is not there."""
    if not isinstance(given, dict):
        raise InvalidRequest("the body is not an object")
    unknown = [name[:_LONGEST_NAME] for name in given if name not in names]
    if unknown:
        raise InvalidRequest(f"unknown fields: {', '.join(unknown[:_SHOWN])}; known are {', '.join(sorted(names))}")
    return {name: value for name, value in given.items() if value is not None}


def _texts(body: Mapping[str, JsonValue], name: str, most: int) -> list[str]:
    value = body.get(name)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise InvalidRequest(f"{name}: is a text, or a list of one at least")
    if len(value) > most:
        raise PayloadTooLarge(f"{name}: {len(value)} texts; this server takes {most} at once")
    texts: list[str] = []
    for place, one in enumerate(value):
        if not isinstance(one, str):
            raise InvalidRequest(f"{name}.{place}: is not a text (token numbers are not taken)")
        texts.append(one)
    return texts


def _text(body: Mapping[str, JsonValue], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name}: is not a text")
    return value


def _flag(body: Mapping[str, JsonValue], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name}: is true or false")
    return value


def _whole(body: Mapping[str, JsonValue], name: str) -> int | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise InvalidRequest(f"{name}: is a whole number")
    return value


def _one_of(body: Mapping[str, JsonValue], name: str, kind: type[E]) -> E | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or value not in list(kind):
        raise InvalidRequest(f"{name}: is one of {', '.join(kind)}")
    return kind(value)


def _right(body: Mapping[str, JsonValue]) -> None:
    direction = body.get("truncation_direction", "right")
    if not isinstance(direction, str) or direction.lower() != "right":
        raise InvalidRequest("truncation_direction: texts are cut at the right")
