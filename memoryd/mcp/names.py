"""What names a text in results, short enough for a model to copy: an id, and where needed its revision and a place in it.

::

    8f14e45f-….                                  a memory, as it is now
    8f14e45f-….r2.k1714564800000000              its second revision, as it was known then (in microseconds since 1970; .a: as of)
    8f14e45f-….r2+6000                           its text from character 6,000 on
    8f14e45f-…~6000                              what stands around character 6,000
    handbook@7/8f14e45f-…                        a chunk of a knowledge base's version 7; handbook@7/8f14e45f-….s its section

Unlike the handles of REST they are not signed: they say nothing that a key which may read could not ask for.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from memoryd.memory.ports import NOW, Moment
from retrieval.packing import Place

_ID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_PLACE = r"(?:([+~])(\d{1,9}))?"
_MEMORY = re.compile(rf"({_ID})(?:\.r(\d{{1,9}}))?(?:\.a(-?\d{{1,18}}))?(?:\.k(-?\d{{1,18}}))?{_PLACE}", re.ASCII)
_CHUNK = re.compile(rf"([a-z0-9][a-z0-9._-]{{0,99}})@([1-9][0-9]{{0,17}})/({_ID})(\.s)?{_PLACE}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MemoryName:
    """A memory: its head, or with a ``revision`` that one, for who asked about ``at``."""

    memory_id: UUID
    revision: int | None = None
    at: Moment = NOW
    place: Place | None = None

    def __str__(self) -> str:
        pinned = "" if self.revision is None else f".r{self.revision}"
        return f"{self.memory_id}{pinned}{_moment('a', self.at.as_of)}{_moment('k', self.at.known_at)}{_placed(self.place)}"

    @property
    def id(self) -> str:
        """What other tools take."""
        return str(self.memory_id)


@dataclass(frozen=True, slots=True)
class ChunkName:
    """A chunk in one version of a knowledge base, or the section around it."""

    kb: str
    version: str
    chunk_id: UUID
    in_section: bool = False
    place: Place | None = None

    def __str__(self) -> str:
        return f"{self.id}{'.s' if self.in_section else ''}{_placed(self.place)}"

    @property
    def id(self) -> str:
        """Without the place."""
        return f"{self.kb}@{self.version}/{self.chunk_id}"


Named = MemoryName | ChunkName


def parse(text: str) -> Named | None:
    """What a name is of; ``None`` for anything else."""
    if found := _MEMORY.fullmatch(text):
        memory_id, revision, as_of, known_at, how, at = found.groups()
        try:
            moment = Moment(_time(as_of), _time(known_at))
        except OverflowError:
            return None
        return MemoryName(UUID(memory_id), None if revision is None else int(revision), moment, _place(how, at))
    if found := _CHUNK.fullmatch(text):
        kb, version, chunk_id, section, how, at = found.groups()
        return ChunkName(kb, version, UUID(chunk_id), section is not None, _place(how, at))
    return None


def _moment(letter: str, moment: datetime | None) -> str:
    return "" if moment is None else f".{letter}{(moment - _EPOCH) // timedelta(microseconds=1)}"


def _time(micros: str | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=int(micros))


def _placed(place: Place | None) -> str:
    return "" if place is None else f"{'~' if place.around else '+'}{place.at}"


def _place(how: str | None, at: str | None) -> Place | None:
    return None if at is None else Place(int(at), how == "~")
