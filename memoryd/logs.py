"""Logging of a process: one line a record on standard error, no content at any level."""

import logging
import time


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


def configure(level: str) -> None:
    """Set the root logger up. Libraries that would log statements or URLs are kept to warnings."""
    # A record would ask for thread, process, task and calling line each time, which is half of its cost; no line shows them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("psycopg", "psycopg.pool", "arq.worker", "httpx", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
