"""Server-sent events out of the bytes of a stream (the HTML standard, 9.2.6)."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event; ``last_id`` is that of this event or of the last one that had one."""

    kind: str
    data: str
    last_id: str | None


class Events:
    """Takes pieces as they come. ``retry_s``: what the service said about coming again. ``beaten``: a comment came, which is how
    it says that it is there when nothing happens."""

    def __init__(self, last_id: str | None = None, retry_s: float = 1.0) -> None:
        self.last_id = last_id
        self.retry_s = retry_s
        self.beaten = False
        self._id = last_id
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._kind = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that end in this piece."""
        text = self._rest + self._decoder.decode(piece)
        # A carriage return at the end may be half of a line's end.
        held = "\r" if text.endswith("\r") else ""
        lines = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        for line in lines:
            if line:
                self._field(line)
                continue
            # Only now: an event that was cut off behind its id has not been seen.
            self.last_id = self._id
            kind, data = self._kind or "message", self._data
            self._kind, self._data = "", []
            if data:
                yield Event(kind, "\n".join(data), self.last_id)

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.beaten = True
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value) / 1000
