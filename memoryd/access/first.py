"""The key that an installation starts with, and prints at every start."""

from itertools import count

from memoryd.access.keys import matches, parse
from memoryd.access.ports import KeyStore
from memoryd.access.tenants import FIRST_KEY, TenantService
from memoryd.errors import AlreadyExists, NotFound
from memoryd.memory.ports import Clock
from retrieval.scope import Scope

FIRST_TENANT = "default"


async def still_good(text: str, keys: KeyStore, tenants: TenantService, clock: Clock) -> bool:
    """Whether a key that was kept lets somebody in, now or when its tenant is not suspended any more."""
    presented = parse(text)
    if presented is None:
        return False
    record = await keys.key(Scope(presented.tenant_id, "-", frozenset()), presented.key_id)
    if record is None or not matches(presented, record.secret_hash) or not record.usable(clock.now()):
        return False
    try:
        return (await tenants.get(presented.tenant_id)).deleted_at is None
    except NotFound:
        return False


async def make_first_key(tenants: TenantService) -> str:
    """A key of the first tenant, which is made if there is none; while the old one is being deleted, the next has a number."""
    for number in count(1):
        name = FIRST_TENANT if number == 1 else f"{FIRST_TENANT}-{number}"
        try:
            _, key = await tenants.create(name, tenants.operation("up"))
        except AlreadyExists:
            # Made before: by one that was killed before it wrote the key down, or whose key was revoked since.
            tenant = await tenants.named(name)
            if tenant.deleted_at is not None:
                continue
            key = await tenants.create_key(tenant.tenant_id, FIRST_KEY, tenants.operation("up"))
        return key.text or ""
    raise AssertionError  # the loop returns
