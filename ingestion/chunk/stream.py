"""Chunking beside an event loop: blocks come asynchronously, and are cut in threads a slice at a time."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import chain, islice

from ingestion.chunk.chunker import Chunker
from ingestion.chunk.model import Section
from ingestion.document import Block

# About a tenth of a second each: loads take turns in few threads, and one whose job is cancelled ends with its slice.
_SLICE_CHARS = 65_536
_SLICE_SECTIONS = 8

Run = Callable[[Callable[[Iterator[Section]], list[Section]], Iterator[Section]], Awaitable[list[Section]]]
"""Runs a function on one argument in a thread."""


async def stream(chunker: Chunker, blocks: AsyncIterable[Block], run: Run = asyncio.to_thread) -> AsyncIterator[Section]:
    """The sections of a document. Holds blocks of 65,536 characters, or one that is larger, and 8 sections."""
    waiting: list[Block] = []
    chars = 0
    async for block in blocks:
        waiting.append(block)
        chars += len(block.text)
        if chars >= _SLICE_CHARS:
            async for section in _sliced(_fed(chunker, waiting), run):
                yield section
            waiting, chars = [], 0
    async for section in _sliced(chain(_fed(chunker, waiting), chunker.finish()), run):
        yield section


def _fed(chunker: Chunker, blocks: Sequence[Block]) -> Iterator[Section]:
    return chain.from_iterable(map(chunker.feed, blocks))


async def _sliced(sections: Iterator[Section], run: Run) -> AsyncIterator[Section]:
    made: list[Section] | None = None
    while made is None or len(made) == _SLICE_SECTIONS:  # fewer are the last
        made = await run(_slice, sections)
        for section in made:
            yield section


def _slice(sections: Iterator[Section]) -> list[Section]:
    return list(islice(sections, _SLICE_SECTIONS))
