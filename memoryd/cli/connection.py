"""Which service a command talks to: options, a profile, the environment, or the running ``memoryd up`` of this machine.

A key is only ever sent to the service that it was given with: the one of a profile not to another URL,
and the environment's, where that says a URL, to no other.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TypeVar

import click

from memoryd.cli.profiles import Profile, profile
from memoryd.cli.refusals import end, refused
from memoryd.client import ClientError, Memoryd, Retries
from memoryd.embedded import datadir

T = TypeVar("T")

_FIRST_KEY = "first_tenant_key"
_KEY_NAMES = ("MEMORYD_KEY", "MEMORYD_API_KEY")
# Somebody waits: about as long as an API needs to be started again.
_IMPATIENT = Retries(attempts=4)
PATIENT = Retries()
"""For long work."""


@dataclass(frozen=True, slots=True)
class Address:
    """A service, and a key of it."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Here:
    """The ``memoryd up`` of a data directory on this machine. ``key`` ``None``: the first one that it made."""

    path: Path
    key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connection:
    """What was said about it."""

    url: str | None
    key: str | None = field(repr=False)
    profile: str | None = None
    data_dir: Path | None = None

    @contextmanager
    def client(self, status: int | None = None, *, retries: Retries | None = None) -> Iterator[Memoryd]:
        """A client; what it raises ends the command with one line and a status that says what it was, or with ``status``.

        A service that is not said, and a value that no service takes, is exit status 2.
        """
        address = self.address()
        try:
            service = Memoryd(address.url, address.key, retries=retries or _IMPATIENT)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        with service:
            try:
                yield service
            except ClientError as error:
                line, found = refused(error, address.url)
                end(line, found if status is None else status)
            except UnicodeEncodeError as error:
                # Bytes of an argument that are no UTF-8 come as lone surrogates, which no request can have.
                raise click.UsageError("an argument is not UTF-8") from error

    def address(self) -> Address:
        """Where, and with which key. Raises ``click.UsageError``."""
        found = self.place()
        return found if isinstance(found, Address) else _running(found)

    def place(self) -> Address | Here:
        """What was said, before anybody looks whether it runs. Raises ``click.UsageError``."""
        self._one_of({"--url": self.url, "--profile": self.profile, "--data-dir": self.data_dir})
        said = _environment("MEMORYD_URL")
        if self.url is not None:
            return self._known(self.url, environment_key(self.url, *_KEY_NAMES))
        if self.profile is not None:
            return self._of_profile(profile(self.profile))
        if self.data_dir is not None:
            return Here(self.data_dir, self.key or (None if said else _environment(*_KEY_NAMES)))
        if said is not None:
            return self._known(said, _environment(*_KEY_NAMES))
        found = profile(_environment("MEMORYD_PROFILE"))
        if found is not None:
            return self._of_profile(found)
        return Here(datadir.default_path(), self.key or _environment(*_KEY_NAMES))

    def _known(self, url: str, key: str | None) -> Address:
        key = self.key or key
        if not key:
            withheld = "; the one that is set goes to MEMORYD_URL alone" if _environment(*_KEY_NAMES) else ""
            raise click.UsageError(f"set MEMORYD_KEY (or MEMORYD_API_KEY) to a key of {url}, or give --key{withheld}")
        return Address(url, key)

    def _of_profile(self, found: Profile | None) -> Address:
        if found is None:
            raise click.UsageError("there is no such profile")
        key = self.key or found.key or environment_key(found.url, *_KEY_NAMES)
        if not key:
            raise click.UsageError(f"the profile {found.name} has no key: set MEMORYD_KEY, or give --key")
        return Address(found.url, key)

    @staticmethod
    def _one_of(given: dict[str, object]) -> None:
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise click.UsageError(f"{' and '.join(names)} exclude each other")


def connecting(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a command the options that say where the service is; it gets a :class:`Connection` before its other arguments."""

    @click.option("--url", help="Of the service (MEMORYD_URL); without, a profile's, or the `memoryd up` of this machine.")
    @click.option("--key", help="An API key; better in MEMORYD_KEY or a profile, which `ps` does not show.")
    @click.option("--profile", help="One of the configuration file (MEMORYD_PROFILE).")
    @click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Of a running `memoryd up`.")
    @wraps(command)
    def connected(url: str | None, key: str | None, profile: str | None, data_dir: Path | None, **others: object) -> T:
        return command(Connection(url, key, profile, data_dir), **others)

    return connected


def named_service(url: str | None, profile_name: str | None, data_dir: Path | None) -> Profile | str | None:
    """The profile or the URL that says a service, for commands that could also be done on stores.

    ``None``: those of ``--data-dir`` or ``MEMORYD_DATABASE_URL`` are meant, or nothing is said. Raises ``click.UsageError``.
    """
    if url is not None:
        return url
    if profile_name is not None:
        return profile(profile_name)
    if data_dir is not None or _environment("MEMORYD_DATABASE_URL"):
        return None
    return _environment("MEMORYD_URL") or profile(_environment("MEMORYD_PROFILE"))


def environment_key(url: str, *names: str) -> str | None:
    """The first of these that says something; none where the environment's service is another one than ``url``."""
    said = _environment("MEMORYD_URL")
    return None if said is not None and said.rstrip("/") != url.rstrip("/") else _environment(*names)


def _environment(*names: str) -> str | None:
    """The first of these that says something."""
    return next((value for name in names if (value := os.environ.get(name))), None)


def _running(here: Here) -> Address:
    state = datadir.read_state(here.path)
    if state is None or not state.alive or state.url is None:
        raise click.UsageError(f"set MEMORYD_URL, give --url or --profile, or start `memoryd up`: none runs on {here.path}")
    key = here.key or _first_key(here.path)
    if not key:
        raise click.UsageError(f"set MEMORYD_KEY: the first key in {here.path} cannot be read")
    return Address(state.url, key)


def _first_key(where: Path) -> str:
    try:
        return (where / "secrets" / _FIRST_KEY).read_text().strip()
    except OSError:
        return ""
