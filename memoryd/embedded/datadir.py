"""The data directory: everything one embedded installation keeps.

::

    memoryd.json      format and versions that wrote it
    lock              held (flock) by the one supervisor; empty
    secrets/          0700, each file 0600 (credentials.py)
    postgres/18/      PGDATA, 0700, the servers' user
    valkey/           append-only file and configuration, 0700, the servers' user
    blobs/            originals and session snapshots, 0700
    run/              state.json, ports.json, pg/ (Unix socket)
    logs/             0700: supervisor.log and one file a child
    programs/         copies of the binaries, only where the wheels are out of the servers' reach

As root the directory itself is 0711: the servers' user must pass through it, and can list nothing.
"""

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import memoryd
from memoryd.embedded import credentials, state
from memoryd.embedded.account import Account, choose, obstacle
from memoryd.embedded.credentials import Credentials
from memoryd.embedded.errors import AlreadyRunning, DataDirTooNew, DataDirUnusable
from memoryd.embedded.files import own_folder

_FORMAT = 1
_META = "memoryd.json"
_LOCK = "lock"
# sun_path holds 108 bytes on Linux and 104 on macOS, its final NUL included; 20 are for «/.s.PGSQL.65535» and its NUL.
_SOCKET_FOLDER_BYTES = 104 - 20


def default_path() -> Path:
    """As root ``/var/lib/memoryd`` (root's home is closed to the servers' user), else below ``$XDG_DATA_HOME``."""
    if os.geteuid() == 0:
        return Path("/var/lib/memoryd")
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "memoryd"


@dataclass(frozen=True, slots=True)
class DataDir:
    """An opened, locked data directory. ``account`` is whom its servers run as; None means this user."""

    path: Path
    account: Account | None
    credentials: Credentials
    orphans: tuple[str, ...] = ()  # children of a killed supervisor that were ended while opening

    @property
    def postgres(self) -> Path:
        """Holds one PGDATA a major version."""
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        """Valkey's working directory."""
        return self.path / "valkey"

    @property
    def blobs(self) -> Path:
        """Originals and session snapshots."""
        return self.path / "blobs"

    @property
    def run(self) -> Path:
        """What describes the running processes."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One file a child, and the supervisor's."""
        return self.path / "logs"

    @property
    def secrets(self) -> Path:
        """One file a secret."""
        return self.path / "secrets"

    @property
    def programs(self) -> Path:
        """Copies of binaries."""
        return self.path / "programs"

    def socket_folder(self) -> Path:
        """The folder of PostgreSQL's Unix socket, created 0700: ``run/pg``, or a short one when that path is too long."""
        folder = self.run / "pg"
        if len(os.fsencode(folder)) <= _SOCKET_FOLDER_BYTES:
            return own_folder(folder, self.account)
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return _short_folder(f"memoryd-{digest}", self.account)


def read_state(path: Path) -> state.StackState | None:
    """What runs, or last ran, on the data directory ``path``; None when nothing has yet."""
    return state.read(_absolute(path) / "run" / "state.json")


@contextmanager
def opened(path: Path) -> Iterator[DataDir]:
    """Create or reopen the data directory, alone: locked until the block ends or the process dies, however it dies.

    Blocks for seconds when a killed supervisor left servers behind: it ends them first.
    Raises :class:`AlreadyRunning`, :class:`DataDirUnusable`, :class:`DataDirTooNew`.
    """
    path = _absolute(path)
    with _explained(path):
        _create(path)
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(lock, path)
        with _explained(path):
            data = _lay_out(path)
        yield data
    finally:
        os.close(lock)


def attached(path: Path) -> DataDir:
    """The data directory of a running supervisor, for administration beside it: not locked, nothing created."""
    path = _absolute(path)
    return DataDir(path, choose(path / "postgres"), credentials.load(path / "secrets"))


def _absolute(path: Path) -> Path:
    """As the servers need it: libpq takes a relative folder of the socket for the name of a host."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would replace the user's own symlinks


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = {
            errno.EROFS: "its disk is mounted read-only",
            errno.EACCES: "this user may not write there",
            errno.EPERM: "this user may not write there",
            errno.ENOSPC: "its disk is full",
            errno.ENOTDIR: "part of that path is a file",
            errno.EEXIST: "that is a file",
        }.get(error.errno or 0, error.strerror or str(error))
        raise DataDirUnusable(f"cannot use {path} as data directory: {reason}; choose another with --data-dir") from error


def _create(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        return
    present = {entry.name for entry in path.iterdir()} - {"lost+found"}
    if present and not present & {_META, _LOCK}:
        raise DataDirUnusable(f"{path} holds other files and is not a memoryd data directory: choose an empty one")


def _lock(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        running = read_state(path)
        known = running if running is not None and running.alive else None
        raise AlreadyRunning(path, pid=known.pid if known else None, url=known.url if known else None) from None
    except OSError as error:
        raise DataDirUnusable(
            f"the file system of {path} cannot lock files ({error.strerror}): choose a local disk with --data-dir"
        ) from error


def _lay_out(path: Path) -> DataDir:
    _check_format(path / _META)
    orphans = state.end_orphans(path / "run" / "state.json")
    account = choose(path / "postgres")
    if account is not None and (closed := obstacle(path, account)) is not None:
        raise DataDirUnusable(
            f"PostgreSQL runs as user '{account.name}' here, who may not enter {closed}: "
            f"choose a --data-dir outside it (such as {default_path()}), or run chmod o+x {closed}"
        )
    for name, mode in (("secrets", 0o700), ("logs", 0o700), ("blobs", 0o700), ("run", 0o755), ("programs", 0o755)):
        (path / name).mkdir(exist_ok=True)
        (path / name).chmod(mode)
    for name in ("postgres", "valkey"):
        own_folder(path / name, account)
    data = DataDir(path, account, credentials.load(path / "secrets"), tuple(orphans))
    (path / _META).write_text(json.dumps({"format": _FORMAT, "memoryd": memoryd.__version__}) + "\n")
    return data


def _check_format(meta: Path) -> None:
    try:
        written = json.loads(meta.read_text())
        number = int(written["format"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        return  # cut short by a crash while it was first written; nothing else depends on it
    if number > _FORMAT:
        raise DataDirTooNew(
            f"{meta.parent} was written by memoryd {written.get('memoryd')}, newer than this {memoryd.__version__}: upgrade"
        )


def _short_folder(name: str, account: Account | None) -> Path:
    """A folder below the shortest place for sockets that only we, or nobody, could have created before."""
    base = Path("/run") if os.geteuid() == 0 and Path("/run").is_dir() else Path("/tmp")  # noqa: S108 - checked below
    folder = base / name
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    ours = {os.geteuid()} | ({account.uid} if account else set())
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in ours:
        raise DataDirUnusable(f"{folder} belongs to another user: remove it, or choose a --data-dir with a shorter path")
    return own_folder(folder, account)
