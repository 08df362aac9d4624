"""``python -m ingestion.parse.child``: parses the file on standard input, confined, and writes lines of ``ingestion.parse.wire``.

A document's process is its own, or that of some short documents which belong together: it starts in some 50 ms, loads only what
its formats need, and takes everything with it at its end.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, BinaryIO

from ingestion.parse.confine import enclose, limit
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.limits import ParseLimits
from ingestion.parse.pieces import Facts, Piece, finish
from ingestion.parse.sniff import MEDIA_TYPES, Format, sniff
from ingestion.parse.source import Source
from ingestion.parse.wire import REQUEST, done_line, failed_line, piece_line, title_line

_FUNCTIONS = {Format.JSON: ("records", "read"), Format.JSON_LINES: ("records", "read_lines")}
# Nesting of a document is bounded by its reader (256 levels of XML, 512 of HTML); each level takes a few frames.
_DEPTH = 5_000
_EMPTY = ParseFailed(FailureReason.EMPTY, "the document has no text")


def parse(source: Source, facts: Facts, send: Callable[[bytes], object]) -> None:
    """Sends every block and the end. Raises ``ParseFailed``."""
    sniffed = sniff(source, facts)
    module, function = _FUNCTIONS.get(sniffed.format, (sniffed.format.value, "read"))
    read: Callable[[Source, Facts], Iterable[Piece]] = getattr(import_module(f"ingestion.parse.formats.{module}"), function)
    room, blocks = source.limits.output_of(source.size), 0
    for piece in finish(read(sniffed.source, facts)):
        blocks += 1
        room -= len(piece.text)
        if room < 0 or blocks > source.limits.blocks:
            raise ParseFailed(
                FailureReason.TOO_LARGE, "the document has more text, or more blocks, than a file of its size may have"
            )
        if blocks == 1 and facts.title:
            send(title_line(facts.title))
        send(piece_line(piece))
    if not blocks:
        raise _EMPTY
    send(done_line(MEDIA_TYPES[sniffed.format], facts))


def main() -> int:
    """0 when the end was written, be it a failure."""
    results = os.dup(1)
    # C libraries may print; what they print is no result.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return work(json.loads(os.environ.pop(REQUEST)), results, enclosed=False, limited=False)


def work(request: dict[str, Any], descriptor: int, *, enclosed: bool, limited: bool) -> int:
    """Parse the file on standard input, and write to ``descriptor``. ``enclosed``: this process lacks only its limits;
    ``limited``: nor those, for it has parsed a document before, and what it may use is for all of them."""
    limits = ParseLimits(**request["limits"])
    results = os.fdopen(descriptor, "wb", buffering=1 << 16)
    stream: BinaryIO = io.BufferedReader(io.FileIO(0, closefd=False))
    size = os.fstat(0).st_size
    sys.setrecursionlimit(_DEPTH)
    if not enclosed:
        enclose()
    if not limited:
        limit(limits, size)
    try:
        run(Source(stream, size, limits, request["name"], request["media_type"], request["encoding"]), results.write)
        results.flush()
    except BrokenPipeError:
        # Nobody reads any more.
        os._exit(1)
    return 0


def run(source: Source, send: Callable[[bytes], object]) -> None:
    """:func:`parse`, with every failure sent as one."""
    try:
        parse(source, Facts(), send)
    except ParseFailed as failure:
        send(failed_line(failure))
    except MemoryError:
        send(failed_line(ParseFailed(FailureReason.OUT_OF_MEMORY, f"more than {source.limits.memory_bytes} bytes of memory")))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the document is what it cannot read
        send(failed_line(ParseFailed(FailureReason.CORRUPT, f"the document cannot be read: {type(error).__name__}")))


if __name__ == "__main__":
    sys.exit(main())
