"""Administration: keys and spaces by a tenant's own admin key, tenants by the operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from memoryd.access.keys import issue, key_prefix
from memoryd.access.model import KeyRecord, Space, Tenant
from memoryd.access.ports import KeyStore, SpaceStore, TenantStore
from memoryd.errors import AlreadyExists, Forbidden, InvalidRequest, NotFound, SpaceNotFound
from memoryd.ids import uuid7
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock, Receipt
from retrieval.scope import Action, Scope


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. ``text`` is there this once; ``None`` when a repeated request finds it made already."""

    record: KeyRecord
    prefix: str
    text: str | None


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a new key should be allowed. ``spaces`` ``None``: every space."""

    name: str
    actions: frozenset[Action]
    spaces: frozenset[str] | None
    expires_at: datetime | None


def require(scope: Scope, action: Action) -> None:
    """Raises ``Forbidden`` unless the key carries ``action``."""
    if not scope.may(action):
        raise Forbidden(f"this key may not {action.value}; it needs the action '{action.value}'")


class KeyService:
    """API keys of one tenant. A key can never grant more than it has."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, scope: Scope, wish: KeyWish, idempotency: Idempotency | None) -> NewKey:
        """Make a key. Raises ``Forbidden`` when the wish exceeds the caller's own rights, or would outlive them."""
        require(scope, Action.ADMIN)
        if not wish.actions <= scope.actions:
            raise Forbidden("a key cannot grant actions that it does not have")
        if scope.spaces is not None and (wish.spaces is None or not wish.spaces <= scope.spaces):
            raise Forbidden("a confined key cannot make keys for other spaces")
        await self._outlived_by_maker(scope, wish.expires_at)
        record, text = self._issue(scope.tenant_id, wish, None)
        replay = await self._store.add_key(scope, record, idempotency=idempotency)
        return await self._made(scope, record, text, replay)

    async def rotate(self, scope: Scope, key_id: UUID, grace_s: int, idempotency: Idempotency | None) -> NewKey:
        """Make a key with the same rights; the old one ends ``grace_s`` seconds from now.

        Raises ``NotFound``, ``Forbidden``, and ``Conflict`` when the old key has ended or was rotated already.
        """
        require(scope, Action.ADMIN)
        old = await self._get(scope, key_id)
        await self._outlived_by_maker(scope, old.expires_at)
        wish = KeyWish(old.name, old.actions, old.spaces, old.expires_at)
        record, text = self._issue(scope.tenant_id, wish, old.key_id)
        expire = (old.key_id, self._clock.now() + timedelta(seconds=grace_s))
        replay = await self._store.add_key(scope, record, idempotency=idempotency, expire=expire)
        return await self._made(scope, record, text, replay)

    async def revoke(self, scope: Scope, key_id: UUID) -> None:
        """End a key at once. Raises ``NotFound``, ``Forbidden``."""
        require(scope, Action.ADMIN)
        await self._get(scope, key_id)
        if not await self._store.revoke_key(scope, key_id, self._clock.now()):
            raise NotFound("no such key")

    async def list(self, scope: Scope, *, after: UUID | None, limit: int) -> list[NewKey]:
        """Keys in order of creation, without their secrets; a confined key sees those within its spaces."""
        require(scope, Action.ADMIN)
        return [self._known(scope, key) for key in await self._store.keys(scope, after=after, limit=limit)]

    async def _get(self, scope: Scope, key_id: UUID) -> KeyRecord:
        """A key that the caller may change. One of other spaces is answered as one that never existed."""
        record = await self._store.find_key(scope.tenant_id, key_id)
        confined = scope.spaces is not None
        if record is None or (confined and (record.spaces is None or not record.spaces <= (scope.spaces or frozenset()))):
            raise NotFound("no such key")
        if not record.actions <= scope.actions:
            raise Forbidden("this key has rights that yours does not")
        return record

    async def _outlived_by_maker(self, scope: Scope, expires_at: datetime | None) -> None:
        """Raises ``Forbidden`` when a key with this end would outlive the one that makes it: expiry would mean nothing."""
        kind, _, key_id = scope.principal.partition(":")
        if kind != "key":
            return
        maker = await self._store.find_key(scope.tenant_id, UUID(key_id))
        end = maker.expires_at if maker else None
        if end is not None and (expires_at is None or expires_at > end):
            raise Forbidden(f"a key cannot make one that outlives it: expires_at must be at most {end.isoformat()}")

    async def _made(self, scope: Scope, record: KeyRecord, text: str, replay: Receipt | None) -> NewKey:
        if replay is None:
            return NewKey(record, key_prefix(scope.tenant_id, record.key_id), text)
        first = await self._store.find_key(scope.tenant_id, UUID(str(replay["key_id"])))
        if first is None:
            raise NotFound("no such key")
        return self._known(scope, first)

    def _known(self, scope: Scope, record: KeyRecord) -> NewKey:
        return NewKey(record, key_prefix(scope.tenant_id, record.key_id), None)

    def _issue(self, tenant_id: UUID, wish: KeyWish, rotated_from: UUID | None) -> tuple[KeyRecord, str]:
        return issue_key(tenant_id, wish, self._clock.now(), rotated_from=rotated_from)


def issue_key(tenant_id: UUID, wish: KeyWish, now: datetime, *, rotated_from: UUID | None = None) -> tuple[KeyRecord, str]:
    """A new record and the key's text."""
    key_id = uuid7()
    issued = issue(tenant_id, key_id)
    record = KeyRecord(
        key_id=key_id,
        name=wish.name,
        secret_hash=issued.secret_hash,
        actions=wish.actions,
        spaces=wish.spaces,
        created_at=now,
        expires_at=wish.expires_at,
        revoked_at=None,
        last_used_at=None,
        rotated_from=rotated_from,
    )
    return record, issued.text


class SpaceService:
    """Spaces: named memory banks, made on first write or on purpose."""

    def __init__(self, store: SpaceStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def readable(self, scope: Scope, names: Sequence[str] | None) -> dict[str, Space]:
        """The named spaces, or all that the key may use.

        Raises ``SpaceNotFound`` for one it may not see, ``InvalidRequest`` when none is named and there are too many.
        """
        if names is None:
            every = await self._store.spaces(scope, after="", limit=MAX_SPACES + 1)
            if len(every) > MAX_SPACES:
                raise InvalidRequest(f"spaces: this key may use more than {MAX_SPACES:,}; name those to look in")
            return {space.name: space for space in every}
        found = await self._store.spaces_named(scope, [name for name in names if scope.may_use(name)])
        missing = [name for name in names if name not in found]
        if missing:
            raise SpaceNotFound(f"no space named {missing[0]!r}")
        return found

    async def writable(self, scope: Scope, names: Sequence[str]) -> dict[str, Space]:
        """The named spaces, made where they do not exist. Raises ``SpaceNotFound`` outside the key's confines.

        Raises ``InvalidRequest`` when more than :data:`MAX_NEW_SPACES` of them would have to be made.
        """
        for name in names:
            if not scope.may_use(name):
                raise SpaceNotFound(f"no space named {name!r}")
        found = await self._store.spaces_named(scope, names)
        missing = [name for name in names if name not in found]
        if len(missing) > MAX_NEW_SPACES:
            raise InvalidRequest(f"space: {len(missing)} new spaces at once; a request may make {MAX_NEW_SPACES}")
        if missing:
            now = self._clock.now()
            await self._store.add_spaces(scope, [Space(uuid7(), name, None, now) for name in sorted(missing)])
            found |= await self._store.spaces_named(scope, missing)
        return found

    async def create(self, scope: Scope, name: str, description: str | None, idempotency: Idempotency | None) -> Space:
        """Make a space. Raises ``AlreadyExists``."""
        require(scope, Action.ADMIN)
        if not scope.may_use(name):
            raise Forbidden("a confined key cannot make other spaces")
        space = Space(uuid7(), name, description, self._clock.now())
        if not await self._store.add_space(scope, space, idempotency=idempotency):
            raise AlreadyExists(f"there is a space named {name!r} already")
        return (await self._store.spaces_named(scope, [name]))[name]

    async def list(self, scope: Scope, *, after: str, limit: int) -> list[Space]:
        """Spaces by name; a confined key sees its own."""
        require(scope, Action.READ)
        return await self._store.spaces(scope, after=after, limit=limit)


MAX_SPACES = 1_000
"""Most spaces that one request looks in without naming them: more are refused, never left out silently."""
MAX_NEW_SPACES = 100
"""Most spaces that one write makes by naming them."""


class TenantService:
    """Tenants: the operator's, by command line or operator key."""

    def __init__(self, store: TenantStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, name: str, idempotency: Idempotency | None = None) -> tuple[Tenant, NewKey]:
        """A tenant with a default space and a first key that may do everything. Raises ``AlreadyExists``.

        A repeated request finds the tenant it made, and its key without the text.
        """
        now = self._clock.now()
        tenant = Tenant(uuid7(), name, now, None)
        record, text = issue_key(tenant.tenant_id, KeyWish("first key", frozenset(Action), None, None), now)
        made, key = await self._store.add_tenant(tenant, uuid7(), record, idempotency=idempotency)
        repeated = key.key_id != record.key_id
        return made, NewKey(key, key_prefix(made.tenant_id, key.key_id), None if repeated else text)

    async def list(self, *, after: UUID | None, limit: int) -> list[Tenant]:
        """Tenants in order of creation."""
        return await self._store.tenants(after=after, limit=limit)

    async def get(self, tenant_id: UUID) -> Tenant:
        """Raises ``NotFound``."""
        tenant = await self._store.tenant(tenant_id)
        if tenant is None:
            raise NotFound("no such tenant")
        return tenant

    async def suspend(self, tenant_id: UUID, *, suspended: bool) -> Tenant:
        """Stop all keys of a tenant at once, or let them work again."""
        tenant = await self._store.set_suspended(tenant_id, self._clock.now() if suspended else None)
        if tenant is None:
            raise NotFound("no such tenant")
        return tenant
