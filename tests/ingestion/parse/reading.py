"""Reads files through the real parser, its process included."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ingestion.document import Block, BlockKind, Parsed, render_document
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.limits import ParseLimits
from ingestion.parse.parser import DocumentParser

PARSER = DocumentParser(ParseLimits(cpu_s=20, wait_s=60))


@dataclass(frozen=True)
class Document:
    """Everything that was read."""

    blocks: list[Block]
    parsed: Parsed

    @property
    def text(self) -> str:
        return render_document(self.blocks)

    @property
    def kinds(self) -> list[BlockKind]:
        return [block.kind for block in self.blocks]


async def read(
    path: Path,
    *,
    name: str | None = None,
    media_type: str | None = None,
    parser: DocumentParser = PARSER,
    family: str | None = None,
) -> Document:
    """The whole document; its spans are checked against its text."""
    async with parser.open(path, name=name or path.name, media_type=media_type, family=family) as reading:
        blocks = [block async for block in reading]
        document = Document(blocks, reading.parsed)
    text = document.text
    assert len(text) == document.parsed.characters
    position = 0
    for block in blocks:
        assert block.start == position
        assert block.text in text[block.start : block.end]
        position = block.end + 2
    return document


async def read_text(folder: Path, content: str | bytes, name: str, *, media_type: str | None = None) -> Document:
    """A file of that content and name."""
    path = folder / "document"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return await read(path, name=name, media_type=media_type)


async def reason(path: Path, *, name: str | None = None, parser: DocumentParser = PARSER) -> FailureReason:
    """Why the file cannot be read."""
    with pytest.raises(ParseFailed) as failed:
        await read(path, name=name, parser=parser)
    assert failed.value.detail
    return failed.value.reason


async def reason_of(folder: Path, content: bytes, name: str) -> FailureReason:
    """The same for a file of that content and name."""
    path = folder / "document"
    path.write_bytes(content)
    return await reason(path, name=name)
