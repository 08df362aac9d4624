"""Which service a command talks to: ``--url`` and ``--key``, the environment, or the running ``memoryd up`` of this machine."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TypeVar

import click

from memoryd.client import ClientError, Memoryd, Unauthenticated, Unreachable
from memoryd.embedded import datadir

T = TypeVar("T")

_FIRST_KEY = "first_tenant_key"
REFUSED = 1
"""Exit status of a command that the service refused."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What was said about it."""

    url: str | None
    key: str | None = field(repr=False)
    data_dir: Path | None

    @contextmanager
    def client(self, status: int = REFUSED) -> Iterator[Memoryd]:
        """A client; what it raises ends the command with one line and ``status``. A service that is not said is exit status 2."""
        url, key = self._address()
        try:
            service = Memoryd(url, key)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        with service:
            try:
                yield service
            except Unreachable as error:
                _end(f"{url} does not answer ({error}): is memoryd running there? [unreachable]", status)
            except Unauthenticated as error:
                _end(f"{error.detail}; set MEMORYD_API_KEY to a key of {url} [{error.code}]", status)
            except ClientError as error:
                _end(str(error), status)

    def _address(self) -> tuple[str, str]:
        if self.url is not None:
            if self.data_dir is not None:
                raise click.UsageError("--url and --data-dir exclude each other")
            if not self.key:
                raise click.UsageError("set MEMORYD_API_KEY to a key of that service, or give --key")
            return self.url, self.key
        where = self.data_dir or datadir.default_path()
        state = datadir.read_state(where)
        if state is None or not state.alive or state.url is None:
            raise click.UsageError(f"set MEMORYD_URL, or give --url: no `memoryd up` runs on {where}")
        key = self.key or _first_key(where)
        if not key:
            raise click.UsageError(f"set MEMORYD_API_KEY: the first key in {where} cannot be read")
        return state.url, key


def connecting(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a command the options that say where the service is; it gets a :class:`Connection` before its other arguments."""

    @click.option("--url", envvar="MEMORYD_URL", help="Of the service (MEMORYD_URL); without, the `memoryd up` of this machine.")
    @click.option("--key", envvar="MEMORYD_API_KEY", help="An API key; better in MEMORYD_API_KEY, which `ps` does not show.")
    @click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Of a running `memoryd up`.")
    @wraps(command)
    def connected(url: str | None, key: str | None, data_dir: Path | None, **others: object) -> T:
        return command(Connection(url, key, data_dir), **others)

    return connected


def _end(line: str, status: int) -> None:
    click.echo(f"memoryd: {line}", err=True)
    sys.exit(status)


def _first_key(where: Path) -> str:
    try:
        return (where / "secrets" / _FIRST_KEY).read_text().strip()
    except OSError:
        return ""
