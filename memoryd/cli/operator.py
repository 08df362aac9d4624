"""Who administrates tenants: the operator over REST, or the service role straight on the database."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from memoryd.cli.connection import Connection, environment_key, named_service
from memoryd.cli.lazy import needing
from memoryd.cli.profiles import Profile
from memoryd.client import Action, Memoryd, NewKey, NewTenant, NotFound, Tenant

if TYPE_CHECKING:
    from memoryd.cli.stored_tenants import Stored

T = TypeVar("T")

_KEY = "MEMORYD_OPERATOR_KEY"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new key should be allowed. ``spaces`` ``None``: every space."""

    name: str
    actions: tuple[Action, ...]
    spaces: tuple[str, ...] | None
    expires_at: datetime | None


class Tenants(Protocol):
    """Tenants by name or id, and their keys."""

    def create(self, name: str) -> NewTenant:
        """A tenant with its first key."""

    def list(self) -> Iterator[Tenant]:
        """In order of creation."""

    def suspend(self, name: str, *, suspended: bool) -> Tenant:
        """Stop all its keys, or let them work again."""

    def delete(self, name: str, confirm: str) -> Tenant:
        """Erase it; what it was."""

    def create_key(self, name: str, wish: Wish) -> NewKey:
        """A key of a tenant."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What was said about it."""

    url: str | None
    key: str | None = field(repr=False)
    profile: str | None
    data_dir: Path | None

    @contextmanager
    def tenants(self) -> Iterator[Tenants]:
        """Over REST where a service is said, with its operator's key; else on the database.

        Raises ``click.UsageError``; ends the command as :meth:`Connection.client` does.
        """
        service = self._service()
        if service is None:
            with self.stored() as stored:
                yield stored
        else:
            with service.client() as memoryd:
                yield _Remote(memoryd)

    def stored(self) -> AbstractContextManager["Stored"]:
        """On the database of the environment, or of a running ``memoryd up``: keys too, which REST tells only their tenant.

        Raises ``click.UsageError`` where a service is said, which is not that database.
        """
        if self._said() is not None:
            raise click.UsageError(
                "over REST a tenant's keys are its own: ask with its key and without TENANT, or on the database "
                "(MEMORYD_DATABASE_URL, or --data-dir of a running `memoryd up`)"
            )
        # The drivers: half a second that the operator over REST does not wait for.
        with needing("server,embedded", "tenants and keys straight on the database"):
            from memoryd.cli.stored_tenants import opened

        return opened(self.data_dir)

    def _service(self) -> Connection | None:
        """Never the database in place of a service that was said and whose operator's key was not."""
        said = self._said()
        if said is None:
            return None
        if isinstance(said, str):
            return Connection(said, _needed(self.key or environment_key(said, _KEY), said))
        return Connection(said.url, _needed(self.key or said.operator_key or environment_key(said.url, _KEY), said.url))

    def _said(self) -> Profile | str | None:
        given = [name for name, value in (("--url", self.url), ("--profile", self.profile)) if value is not None]
        if self.data_dir is not None and given:
            raise click.UsageError(f"{given[0]} and --data-dir exclude each other")
        return named_service(self.url, self.profile, self.data_dir)


class _Remote:
    """Implements :class:`Tenants` with the operator's key."""

    def __init__(self, memoryd: Memoryd) -> None:
        self._use = memoryd.tenants

    def create(self, name: str) -> NewTenant:
        return self._use.create(name)

    def list(self) -> Iterator[Tenant]:
        return self._use.list()

    def suspend(self, name: str, *, suspended: bool) -> Tenant:
        return self._use.suspend(self._found(name).id, suspended=suspended)

    def delete(self, name: str, confirm: str) -> Tenant:
        tenant = self._found(name)
        self._use.delete(tenant.id, confirm=confirm)
        return tenant

    def create_key(self, name: str, wish: Wish) -> NewKey:
        tenant = self._found(name)
        return self._use.create_key(tenant.id, wish.name, actions=wish.actions, spaces=wish.spaces, expires_at=wish.expires_at)

    def _found(self, name: str) -> Tenant:
        for one in self._use.list():
            if name in (one.name, str(one.id)):
                return one
        raise NotFound(code="not_found", status=404, detail="no such tenant")


def operating(command: Callable[..., T]) -> Callable[..., T]:
    """Gives a command the options of an operator; it gets an :class:`Operator` before its other arguments."""

    @click.option("--url", help="Of a service, to ask it over REST with the operator's key.")
    @click.option("--operator-key", help=f"Better in {_KEY} or a profile, which `ps` does not show.")
    @click.option("--profile", "profile_name", help="One of the configuration file (MEMORYD_PROFILE).")
    @click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Of a running `memoryd up`.")
    @wraps(command)
    def operated(
        url: str | None, operator_key: str | None, profile_name: str | None, data_dir: Path | None, **others: object
    ) -> T:
        return command(Operator(url, operator_key, profile_name, data_dir), **others)

    return operated


def _needed(key: str | None, url: str) -> str:
    if not key:
        raise click.UsageError(
            f"set {_KEY} to the operator's key of {url}, or give --operator-key; for the `memoryd up` of this machine --data-dir"
        )
    return key
