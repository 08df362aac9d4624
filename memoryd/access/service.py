"""A tenant's own administration: its keys and spaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from memoryd.access.freshness import forgotten
from memoryd.access.keys import REFUSED, issue, key_prefix
from memoryd.access.model import KeyRecord, Space, SpaceChange
from memoryd.access.ports import KeyStore, SpaceStore
from memoryd.errors import Conflict, Forbidden, InvalidRequest, NotFound, SpaceNotFound, Unauthenticated
from memoryd.ids import uuid7
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock, Receipt
from memoryd.memory.reranking import Reranking
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
    """API keys of one tenant. A key can never grant more than it has, nor for longer, and sees none beyond its spaces."""

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
        record, text = issue_key(scope.tenant_id, wish, self._clock.now())
        maker = _maker(scope)

        def admit(found: Mapping[UUID, KeyRecord]) -> None:
            _not_outlived(maker, found, record)

        replay = await self._store.add_key(
            scope, record, lock=[maker] if maker else [], admit=admit, ends=None, idempotency=idempotency
        )
        return await self._made(scope, record, text, replay)

    async def rotate(self, scope: Scope, key_id: UUID, grace_s: int, idempotency: Idempotency | None) -> NewKey:
        """Make a key with the same rights; the old one ends ``grace_s`` seconds from now.

        Raises ``NotFound``, ``Forbidden``, and ``Conflict`` when the old key has ended or was rotated already: one key has
        one successor, so that none is left behind that nobody knows of.
        """
        require(scope, Action.ADMIN)
        old = await self._get(scope, key_id)
        now = self._clock.now()
        wish = KeyWish(old.name, old.actions, old.spaces, old.expires_at)
        record, text = issue_key(scope.tenant_id, wish, now, rotated_from=old.key_id)
        maker = _maker(scope)

        def admit(found: Mapping[UUID, KeyRecord]) -> None:
            current = found.get(old.key_id)
            if current is None or current.revoked_at is not None or not current.usable(now):
                raise Conflict("an expired, revoked or rotated key cannot be rotated; make a new one")
            _not_outlived(maker, found, record)

        replay = await self._store.add_key(
            scope,
            record,
            lock=[old.key_id, *([maker] if maker else [])],
            admit=admit,
            ends=(old.key_id, now + timedelta(seconds=grace_s)),
            idempotency=idempotency,
        )
        await forgotten()
        return await self._made(scope, record, text, replay)

    async def revoke(self, scope: Scope, key_id: UUID, idempotency: Idempotency | None) -> None:
        """End a key at once. Raises ``NotFound``, ``Forbidden``."""
        require(scope, Action.ADMIN)
        await self._get(scope, key_id)
        await self._store.revoke_key(scope, key_id, self._clock.now(), idempotency)
        await forgotten()

    async def list(self, scope: Scope, *, after: UUID | None, limit: int) -> list[NewKey]:
        """Keys in order of creation, without their secrets; a confined key sees those within its spaces."""
        require(scope, Action.ADMIN)
        return [known(scope.tenant_id, key) for key in await self._store.keys(scope, after=after, limit=limit)]

    async def _get(self, scope: Scope, key_id: UUID) -> KeyRecord:
        """A key that the caller may change. One of other spaces is answered as one that never existed."""
        record = await self._store.key(scope, key_id)
        if record is None or not record.within(scope.spaces):
            raise NotFound("no such key")
        if not record.actions <= scope.actions:
            raise Forbidden("this key has rights that yours does not")
        return record

    async def _made(self, scope: Scope, record: KeyRecord, text: str, replay: Receipt | None) -> NewKey:
        if replay is None:
            return known(scope.tenant_id, record, text)
        first = await self._store.key(scope, UUID(str(replay["key_id"])))
        if first is None:
            raise NotFound("no such key")
        return known(scope.tenant_id, first)


def known(tenant_id: UUID, record: KeyRecord, text: str | None = None) -> NewKey:
    """A key with its public half; its text is there only when it was made just now."""
    return NewKey(record, key_prefix(tenant_id, record.key_id), text)


def _maker(scope: Scope) -> UUID | None:
    """The key that acts, or ``None`` for the operator."""
    kind, _, key_id = scope.principal.partition(":")
    return UUID(key_id) if kind == "key" else None


def _not_outlived(maker: UUID | None, found: Mapping[UUID, KeyRecord], made: KeyRecord) -> None:
    """Raises ``Forbidden`` when ``made`` would outlive the key that makes it: expiry and revocation would mean nothing."""
    if maker is None:
        return
    own = found.get(maker)
    if own is None or not own.usable(made.created_at):
        raise Unauthenticated(REFUSED)
    end = own.ends_at
    if end is not None and (made.expires_at is None or made.expires_at > end):
        raise Forbidden(f"a key cannot make one that outlives it: expires_at must be at most {end.isoformat()}")


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

    async def create(
        self,
        scope: Scope,
        name: str,
        description: str | None,
        idempotency: Idempotency | None,
        *,
        rerank: Reranking | None = None,
    ) -> Space:
        """Make a space. Raises ``AlreadyExists``."""
        require(scope, Action.ADMIN)
        if not scope.may_use(name):
            raise Forbidden("a confined key cannot make other spaces")
        space = Space(uuid7(), name, description, self._clock.now(), rerank)
        return await self._store.add_space(scope, space, idempotency=idempotency)

    async def change(self, scope: Scope, name: str, change: SpaceChange, idempotency: Idempotency | None) -> Space:
        """Change a space's settings. Raises ``SpaceNotFound``, also outside the key's confines."""
        require(scope, Action.ADMIN)
        if not scope.may_use(name):
            raise SpaceNotFound("no such space")
        return await self._store.change_space(scope, name, change, self._clock.now(), idempotency=idempotency)

    async def list(self, scope: Scope, *, after: str, limit: int) -> list[Space]:
        """Spaces by name; a confined key sees its own."""
        require(scope, Action.READ)
        return await self._store.spaces(scope, after=after, limit=limit)


MAX_SPACES = 1_000
"""Most spaces that one request looks in without naming them: more are refused, never left out silently."""
MAX_NEW_SPACES = 100
"""Most spaces that one write makes by naming them."""
