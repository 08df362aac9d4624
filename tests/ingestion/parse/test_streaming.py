"""Memory does not follow the size of a text."""

import resource
from itertools import count
from pathlib import Path

import pytest

from ingestion.document import BlockKind
from ingestion.parse.pieces import MAX_BLOCK
from tests.ingestion.parse.reading import PARSER, read_text

_MOST_MIB = 100


def peak_mib(process: int) -> int:
    """The most memory that a process has held."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see another process's memory")
@pytest.mark.parametrize(
    ("name", "line", "size"),
    [
        ("long.txt", "One line without an end. ", 200_000_000),
        ("long.md", "## Heading\n\n" + "Words of a paragraph. " * 700 + "\n\n", 60_000_000),
    ],
)
async def test_a_long_text_is_never_held(tmp_path: Path, name: str, line: str, size: int) -> None:
    path = tmp_path / name
    with path.open("w") as file:
        chunk = line * 200
        file.writelines(chunk for _ in range(size // len(chunk)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    characters = largest = 0
    async with PARSER.open(path, name=name) as reading:
        peak = 0
        for number in count():
            block = await anext(reading, None)
            if block is None:
                break
            characters += len(block.text)
            largest = max(largest, len(block.text))
            if number % 500 == 0:
                peak = max(peak, peak_mib(reading.process_id))
        assert reading.parsed.characters > 0.95 * size
    assert characters > 0.95 * size
    assert largest <= MAX_BLOCK
    assert 0 < peak < _MOST_MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - before < _MOST_MIB


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.md", "```python\n" + "x = 1\n" * 20_000 + "```\n", BlockKind.CODE),
        ("a.md", "- item\n" * 20_000, BlockKind.LIST),
        ("a.md", "| a | b |\n| - | - |\n" + "| 1 | 2 |\n" * 20_000, BlockKind.TABLE),
        ("a.md", "> said\n" * 20_000, BlockKind.QUOTE),
        ("a.md", "    indented\n" * 20_000, BlockKind.CODE),
        ("a.txt", "no line break, " * 20_000, BlockKind.PARAGRAPH),
        ("a.csv", "a,b\n" + "1,2\n" * 20_000, BlockKind.TABLE),
        ("a.py", "x = 1\n" * 20_000, BlockKind.CODE),
        ("a.jsonl", '{"a": "' + "word " * 20_000 + '"}\n{"a": 1}\n', BlockKind.LIST),
    ],
)
async def test_large_blocks_come_in_parts(tmp_path: Path, name: str, content: str, kind: BlockKind) -> None:
    document = await read_text(tmp_path, content, name)
    assert set(document.kinds) == {kind}
    assert len(document.blocks) > 3
    assert max(len(block.text) for block in document.blocks) <= MAX_BLOCK
    if kind is BlockKind.TABLE:
        assert {block.text.split("\n", 1)[0] for block in document.blocks} == {"| a | b |"}
        rows = sum(block.text.count("| 1 | 2 |") for block in document.blocks)
        assert rows == 20_000


async def test_long_lines_are_divided_between_words(tmp_path: Path) -> None:
    words = ["word", "and", "another", "wörd"] * 5_000
    for name in ("a.txt", "a.md"):
        document = await read_text(tmp_path, " ".join(words), name)
        assert " ".join(block.text for block in document.blocks).split() == words
    whole = "x" * 40_000 + " y"
    assert "".join((await read_text(tmp_path, whole, "a.txt")).text.split()) == whole.replace(" ", "")
