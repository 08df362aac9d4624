"""The file that is being parsed: an open, seekable stream, its size, and what the sender says of it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.limits import ParseLimits

# A longer line is read in parts of this many characters.
_MAX_LINE = 16_384
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """``encoding`` is set once the bytes are known to be text: from the beginning, where the sender has decoded them."""

    stream: BinaryIO
    size: int
    limits: ParseLimits
    name: str | None = None
    media_type: str | None = None
    encoding: str | None = None

    @property
    def suffix(self) -> str:
        """The name's last extension in lower case, with its dot, or nothing."""
        return PurePosixPath(self.name.replace("\\", "/")).suffix.lower() if self.name else ""

    @property
    def charset(self) -> str | None:
        """What the sender calls the text's encoding: the parameter of its media type."""
        found = _CHARSET.search(self.media_type or "")
        return found[1] if found else None

    @property
    def base_name(self) -> str:
        """The name without folders, in lower case."""
        return PurePosixPath(self.name.replace("\\", "/")).name.lower() if self.name else ""

    def head(self, size: int) -> bytes:
        """The first bytes."""
        self.stream.seek(0)
        return self.stream.read(size)

    def lines(self) -> Iterator[str]:
        """The text's lines without their ends, each in parts of whole words if it is long; what cannot be decoded becomes
        U+FFFD."""
        reader, held = self.text(), ""
        while part := reader.readline(_MAX_LINE - len(held)):
            line, held = held + part, ""
            if len(line) == _MAX_LINE and not line.endswith("\n"):
                end = line.rfind(" ", _MAX_LINE // 2) + 1 or _MAX_LINE
                line, held = line[:end], line[end:]
            yield line.rstrip("\n")
        if held:
            yield held

    def rows(self, most: int) -> Iterator[str]:
        """The text's lines with their ends, in parts of ``most`` characters at most."""
        reader = self.text()
        while line := reader.readline(most):
            yield line

    def text(self) -> io.TextIOWrapper:
        """A reader of the whole text. It must not be closed: the stream is not the reader's."""
        self.stream.seek(0)
        return _Borrowed(self.stream, encoding=self.encoding or "utf-8", errors="replace")

    def whole(self) -> bytes:
        """Every byte, of a file that is small enough."""
        if self.size > self.limits.whole_bytes:
            raise ParseFailed(FailureReason.TOO_LARGE, f"this format is read whole, up to {self.limits.whole_bytes} bytes")
        return self.head(self.size)


class _Borrowed(io.TextIOWrapper):
    """Leaves its stream open when it is collected."""

    def __del__(self) -> None:
        if not self.closed:
            self.detach()
