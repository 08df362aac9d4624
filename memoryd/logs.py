"""Logging of a process: one line a record on standard error, no content at any level."""

import asyncio
import logging
import time
from contextlib import nullcontext
from typing import TextIO

_AT_ONCE = 32


class _Lines(logging.Formatter):
    """The usual line, whose time is written out once a second: with each record, that would be a third of its cost."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._written = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        second, text = self._written
        if int(record.created) != second:
            second = int(record.created)
            text = time.strftime(datefmt or self.default_time_format, self.converter(second))
            self._written = (second, text)
        return f"{text},{int(record.msecs):03d}"


class Turns(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of the event loop together, in order: to write each by itself is half of what it costs, and a
    busy API has one for each request.

    A warning, what is logged outside of a loop, and what makes too many are written at once, with what waited. A process that
    is killed loses what it logged in that turn, and what cannot be written is lost with the others of its turn.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []
        self._newest: logging.LogRecord | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that will write them

    def emit(self, record: logging.LogRecord) -> None:
        """Have it written, now or soon."""
        try:
            self._waiting.append(self.format(record) + self.terminator)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - as the library's: that something cannot be logged breaks nothing
            self.handleError(record)
            return
        self._newest = record
        loop = _loop() if record.levelno < logging.WARNING and len(self._waiting) < _AT_ONCE else None
        if loop is None:
            self.flush()
        elif loop is not self._loop:
            self._loop = loop
            loop.call_soon(self._turn)

    def flush(self) -> None:
        """Write what waits."""
        with self.lock or nullcontext():
            text, self._waiting = "".join(self._waiting), []
            record, self._newest = self._newest, None
            try:
                if text:
                    self.stream.write(text)
                super().flush()
            except Exception:
                if record is None:
                    raise
                self.handleError(record)

    def _turn(self) -> None:
        self._loop = None
        self.flush()


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def configure(level: str) -> None:
    """Set the root logger up. Libraries that would log statements or URLs are kept to warnings."""
    # A record would ask for thread, process, task and calling line each time, which is half of its cost; no line shows them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = Turns()
    handler.setFormatter(_Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("psycopg", "psycopg.pool", "arq.worker", "httpx", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
