"""Logging of a process: one line a record on standard error, no content at any level."""

import logging


def configure(level: str) -> None:
    """Set the root logger up. Libraries that would log statements or URLs are kept to warnings."""
    # A record would ask for thread, process, task and calling line each time, which is half of its cost; no line shows them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True)
    for name in ("psycopg", "psycopg.pool", "arq.worker", "httpx", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
