"""Operations on spaces and keys of a tenant, and on the tenants of an installation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.access_models import (
    Action,
    Key,
    KeyPage,
    NewKey,
    NewTenant,
    Readiness,
    Space,
    SpacePage,
    Tenant,
    TenantPage,
)
from memoryd.client.bases import UNSET, Unset
from memoryd.client.core import answered, asked, paged, path, writing
from memoryd.client.operation import Iteration, Operation, Operations
from memoryd.client.questions import Reranking, reranking
from memoryd.client.steps import Flow, Request, Steps
from memoryd.client.wording import filled, moment

_SPACES: Final = "spaces"
_KEYS: Final = "keys"
_TENANTS: Final = ("admin", "tenants")


class SpaceOperations(Operations):
    """``/v1/spaces``."""

    @Operation
    def create(self, name: str, *, description: str | None = None, key: str | None = None) -> Steps[Space]:
        """Make a space on purpose; the first write to one makes it too. Needs ``admin``. Raises ``Conflict``."""
        body = filled({"name": name, "description": description})
        return (yield from asked(Space, writing("POST", path(_SPACES), body, key=key), self.retries))

    @Operation
    def update(
        self,
        name: str,
        *,
        description: str | Unset | None = UNSET,
        rerank: Literal["off", "on"] | Reranking | Unset | None = UNSET,
        key: str | None = None,
    ) -> Steps[Space]:
        """Change what is given; ``None`` empties it. ``rerank``: what ``auto`` means for its recalls. Needs ``admin``."""
        body: dict[str, JsonValue] = {} if isinstance(description, Unset) else {"description": description}
        if not isinstance(rerank, Unset):
            body["rerank"] = None if rerank is None else reranking(rerank)
        return (yield from asked(Space, writing("PATCH", path(_SPACES, name), body, key=key), self.retries))

    @Iteration
    def list(self) -> Flow[Space]:
        """Those that the key may see, by name."""
        yield from paged(SpacePage, path(_SPACES), {}, self.retries, lambda page: (page.spaces, page.next_cursor))


class KeyOperations(Operations):
    """``/v1/keys``, with a key that has ``admin``. A key's text is shown once."""

    @Operation
    def create(
        self,
        name: str,
        *,
        actions: Sequence[Action] = ("read", "write"),
        spaces: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        key: str | None = None,
    ) -> Steps[NewKey]:
        """Make a key, which can do no more than the one that makes it. ``spaces`` ``None``: every space."""
        body = _wish(name, actions, spaces, expires_at)
        return (yield from asked(NewKey, writing("POST", path(_KEYS), body, key=key), self.retries))

    @Iteration
    def list(self) -> Flow[Key]:
        """In order of creation, without their secrets."""
        yield from paged(KeyPage, path(_KEYS), {}, self.retries, lambda page: (page.keys, page.next_cursor))

    @Operation
    def rotate(self, key_id: UUID | str, *, grace_s: int = 0, key: str | None = None) -> Steps[NewKey]:
        """A key with the same rights; the old one works for ``grace_s`` seconds more. Raises ``Conflict`` the second time."""
        where = path(_KEYS, str(key_id), "rotate")
        return (yield from asked(NewKey, writing("POST", where, {"grace_s": grace_s}, key=key), self.retries))

    @Operation
    def revoke(self, key_id: UUID | str, *, key: str | None = None) -> Steps[None]:
        """End a key at once; safe to repeat."""
        yield from answered(writing("DELETE", path(_KEYS, str(key_id)), key=key), self.retries)


class TenantOperations(Operations):
    """``/v1/admin/tenants``, for a client that has the operator's key."""

    @Operation
    def create(self, name: str, *, key: str | None = None) -> Steps[NewTenant]:
        """A tenant with a space ``default`` and a first key that may do everything. Raises ``Conflict``."""
        return (yield from asked(NewTenant, writing("POST", path(*_TENANTS), {"name": name}, key=key), self.retries))

    @Operation
    def get(self, tenant_id: UUID | str) -> Steps[Tenant]:
        """One tenant. Raises ``NotFound``."""
        return (yield from asked(Tenant, Request("GET", path(*_TENANTS, str(tenant_id))), self.retries))

    @Iteration
    def list(self) -> Flow[Tenant]:
        """In order of creation."""
        yield from paged(TenantPage, path(*_TENANTS), {}, self.retries, lambda page: (page.tenants, page.next_cursor))

    @Operation
    def suspend(self, tenant_id: UUID | str, *, suspended: bool = True, key: str | None = None) -> Steps[Tenant]:
        """Stop all its keys at once, or let it go on; safe to repeat."""
        body: dict[str, JsonValue] = {"suspended": suspended}
        return (yield from asked(Tenant, writing("PATCH", path(*_TENANTS, str(tenant_id)), body, key=key), self.retries))

    @Operation
    def delete(self, tenant_id: UUID | str, *, confirm: str, key: str | None = None) -> Steps[None]:
        """Erase it with all that is its own; ``confirm`` is its name. It cannot be undone."""
        request = writing("DELETE", path(*_TENANTS, str(tenant_id)), key=key, query={"confirm": confirm})
        yield from answered(request, self.retries)

    @Operation
    def create_key(
        self,
        tenant_id: UUID | str,
        name: str,
        *,
        actions: Sequence[Action] = ("read", "write"),
        spaces: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        key: str | None = None,
    ) -> Steps[NewKey]:
        """Make a key for a tenant: the way back in when it lost its last."""
        body = _wish(name, actions, spaces, expires_at)
        return (yield from asked(NewKey, writing("POST", path(*_TENANTS, str(tenant_id), "keys"), body, key=key), self.retries))


class HealthOperations(Operations):
    """``/readyz``."""

    @Operation
    def ready(self) -> Steps[Readiness]:
        """Everything that is needed is there. Raises ``Unavailable``, which says what is waited for."""
        return (yield from asked(Readiness, Request("GET", "/readyz"), self.retries))


def _wish(
    name: str, actions: Sequence[Action], spaces: Sequence[str] | None, expires_at: datetime | None
) -> dict[str, JsonValue]:
    wish: dict[str, JsonValue] = {"name": name, "actions": list(actions)}
    # An empty list is sent too, to be refused: left out, it would be every space.
    if spaces is not None:
        wish["spaces"] = list(spaces)
    return wish | filled({"expires_at": moment("expires_at", expires_at)})
