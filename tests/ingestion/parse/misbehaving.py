"""A parsing process that has been taken over: what the document's name says, it does, under the same confinement."""

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ingestion.parse.confine import enclose, limit
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.limits import ParseLimits
from ingestion.parse.pieces import Facts, paragraph
from ingestion.parse.wire import REQUEST, done_line, failed_line, piece_line


def say(text: str) -> None:
    """One paragraph."""
    os.write(1, piece_line(paragraph(text)))


def attempt(what: str) -> str:
    """``refused`` or what came of it."""
    try:
        match what:
            case "socket":
                socket.create_connection(("127.0.0.1", 9), timeout=1)
            case "process":
                subprocess.run(["true"], check=True)
            case "write":
                Path("/tmp/memoryd-was-here").write_text("x")  # noqa: S108
            case "read":
                return Path(__file__).parents[3].joinpath("pyproject.toml").read_text()[:20]
            case "libc socket":
                return raw_connection()
            case "environment":
                return " ".join(sorted(os.environ))
    except OSError as error:
        return f"refused: {type(error).__name__}"
    return "done"


def raw_connection() -> str:
    """Connects past Python's own checks, as code injected through a parser's bug would."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    port = int(os.read(0, 16))
    address = b"\x02\x00" + port.to_bytes(2, "big") + b"\x7f\x00\x00\x01" + bytes(8)
    result = libc.connect(descriptor, address, len(address))
    return "done" if result == 0 else "refused: " + os.strerror(ctypes.get_errno())


def work(request: dict[str, Any], descriptor: int, *, enclosed: bool, limited: bool) -> int:
    """Does what the name says."""
    os.dup2(descriptor, 1)
    if not enclosed:
        enclose()
    if not limited:
        limit(ParseLimits(**request["limits"]), 0)
    match request["name"]:
        case "loop":
            while True:
                pass
        case "sleep":
            say("first")
            time.sleep(600)
        case "memory":
            try:
                held = bytearray(1)
                while True:
                    held += bytes(32 * 1024 * 1024)
            except MemoryError:
                os.write(1, failed_line(ParseFailed(FailureReason.OUT_OF_MEMORY, "all of it")))
        case "flood":
            while True:
                say("x" * 10_000)
        case "long line":
            os.write(1, b"x" * 10_000_000)
        case "nonsense":
            os.write(1, b'["block", "paragraph", 5]\n')
        case "nesting":
            os.write(1, b"[" * 50_000 + b"\n")
        case "segfault":
            ctypes.string_at(0)
        case "quit":
            say("first")
            os._exit(3)
        case what:
            say(attempt(what))
            os.write(1, done_line("text/plain", Facts()))
    return 0


if __name__ == "__main__":
    sys.exit(work(json.loads(os.environ.pop(REQUEST)), os.dup(1), enclosed=False, limited=False))
