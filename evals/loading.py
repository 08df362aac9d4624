"""Puts an evaluation set into memoryd the way a caller would, and remembers which id became which."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from evals.client import Client
from evals.datasets import Dataset, Document


class Fields(StrEnum):
    """How much of a document is told to the service.

    ``RICH``: text, external id, session and event time. ``NEUTRAL``: text and external id only, as a tool that
    knows nothing about conversations would send it.
    """

    RICH = "rich"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A set in the service.

    ``spaces`` is by namespace, ``documents`` maps a memory id to a document id, ``said`` a document id to its words,
    ``labelled`` to its words behind the day and the speaker.
    """

    dataset: Dataset
    client: Client
    spaces: Mapping[str, str]
    documents: Mapping[str, str]
    said: Mapping[str, str]
    labelled: Mapping[str, str]
    seconds: float


async def load_into(client: Client, dataset: Dataset, *, fields: Fields, prefix: str) -> Loaded:
    """Writes the corpus, a space a namespace, in the corpus' order. ``prefix`` keeps runs apart."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    spaces = {name: space_name(prefix, dataset.name, name) for name in dataset.namespaces}
    ids: dict[str, str] = {}
    for namespace, space in spaces.items():
        await client.create_space(space)
        documents = [document for document in dataset.documents if document.namespace == namespace]
        written = await client.write_all([memory(document, space, fields) for document in documents])
        # Two documents with one text may be answered as one memory: the first keeps it.
        for document, result in zip(documents, written, strict=True):
            ids.setdefault(result.id, document.id)
    said = {document.id: document.said or document.text for document in dataset.documents}
    labels = {document.id: labelled(document) for document in dataset.documents}
    return Loaded(dataset, client, spaces, ids, said, labels, loop.time() - started)


def space_name(prefix: str, dataset: str, namespace: str) -> str:
    """Such as ``bench-locomo-dev-conv-26``."""
    return "-".join(part for part in (prefix, dataset, namespace) if part)


def memory(document: Document, space: str, fields: Fields) -> dict[str, JsonValue]:
    """The request's item for a document."""
    body: dict[str, JsonValue] = {"text": document.text, "space": space, "external_id": document.id}
    if fields is Fields.RICH:
        if document.session is not None:
            body["session_id"] = document.session
        if document.event_time is not None:
            body["event_time"] = document.event_time.isoformat()
    return body


def labelled(document: Document) -> str:
    """``[8 May 2023] Caroline: …``: what a reader needs to know who said it and when, as short as a label can be."""
    moment = document.event_time
    when = f"[{moment:%-d %B %Y}] " if moment else ""
    who = f"{document.speaker}: " if document.speaker else ""
    return f"{when}{who}{document.said or document.text}"


def documents_of(loaded: Loaded, memory_ids: Sequence[str]) -> list[str]:
    """Document ids in the order of the answer, each once."""
    return list(dict.fromkeys(loaded.documents[memory_id] for memory_id in memory_ids))
