"""The secrets of one installation: made once, kept 0600 in the data directory, read again at every start."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from memoryd.embedded.errors import DataDirUnusable
from memoryd.embedded.files import sync_folder

_BYTES = 32  # 256 bits, URL-safe base64: fits a URL, a libpq string and a Valkey configuration line unquoted


@dataclass(frozen=True, slots=True)
class Credentials:
    """Each is a file of its field's name in ``secrets/``."""

    postgres_superuser: str = field(repr=False)
    postgres_owner: str = field(repr=False)
    postgres_service: str = field(repr=False)
    valkey: str = field(repr=False)
    operator_key: str = field(repr=False)
    handle_secret: str = field(repr=False)


def load(folder: Path) -> Credentials:
    """Read the secrets in ``folder``, making those that are missing."""
    return Credentials(
        postgres_superuser=remembered(folder / "postgres_superuser"),
        postgres_owner=remembered(folder / "postgres_owner"),
        postgres_service=remembered(folder / "postgres_service"),
        valkey=remembered(folder / "valkey"),
        operator_key=remembered(folder / "operator_key", prefix="mdo_"),
        handle_secret=remembered(folder / "handle_secret"),
    )


def remembered(path: Path, *, prefix: str = "") -> str:
    """The secret kept at ``path``; made, and on disk to stay, when there is none.

    Written aside and renamed, both synced: a database initialised with a password that a power cut then
    forgets could not be entered again. Raises :class:`DataDirUnusable` when the file cannot be read.
    """
    try:
        value = path.read_text().strip()
    except FileNotFoundError:
        value = ""
    except PermissionError as error:
        raise DataDirUnusable(f"{path} belongs to another user: start memoryd as the user who created it") from error
    if value:
        return value
    value = prefix + secrets.token_urlsafe(_BYTES)
    store(path, value)
    return value


def store(path: Path, value: str) -> None:
    """Keep ``value`` at ``path``, mode 0600, atomically and durably."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)
