"""What the supervisor says: one JSON object a line in ``logs/supervisor.log``, one short line on stderr; both size-capped."""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

CAP_BYTES = 8 * 2**20
Field = str | int | float | None


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def cap(path: Path, limit: int = CAP_BYTES) -> None:
    """Move a log that has outgrown ``limit`` bytes to ``<path>.1`` and empty it in place.

    In place because children hold it open (for appending, so they go on from its new end); what they write between
    the copy and the cut is lost. At most twice ``limit`` is ever on disk, beyond one check's interval.
    """
    if path.exists() and path.stat().st_size > limit:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        with path.open("r+b") as file:
            file.truncate(0)


def tail(path: Path, limit: int = 2048) -> str:
    """The last lines of a log, at most ``limit`` bytes."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limit))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


class EventLog:
    """Events of processes: never a request's content."""

    def __init__(self, path: Path, *, stderr: TextIO | None) -> None:
        self._path = path
        self._stderr = stderr

    def write(self, event: str, fields: Mapping[str, Field] | None = None) -> None:
        """Note ``event`` with its ``fields``. A full disk does not stop the supervisor: then stderr alone has the line."""
        shown = {name: value for name, value in (fields or {}).items() if value is not None}
        try:
            cap(self._path)
            with self._path.open("a") as file:
                file.write(json.dumps({"at": now(), "event": event, **shown}) + "\n")
        except OSError:
            shown["log"] = "unwritable"
        if self._stderr is not None:
            said = " ".join(f"{name}={value}" for name, value in shown.items())
            self._stderr.write(f"memoryd: {event.replace('_', ' ')} {said}".rstrip() + "\n")
            self._stderr.flush()
