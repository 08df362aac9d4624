"""Lookups of keys: shared among requests that come together, and trusted for a moment."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from memoryd.access import authenticate, freshness
from memoryd.access.authenticate import Authenticator
from memoryd.access.model import KeyRecord
from memoryd.access.service import KeyWish, issue_key
from memoryd.clock import SystemClock
from memoryd.errors import StoreUnavailable, Unauthenticated
from retrieval.scope import Action

WISH = KeyWish("key", frozenset({Action.READ}), None, None)


@dataclass
class Keys:
    """One key, read whenever the test lets a read pass."""

    record: KeyRecord
    reads: list[asyncio.Event] = field(default_factory=list)
    begun: asyncio.Condition = field(default_factory=asyncio.Condition)
    broken: bool = False
    there: bool = True

    async def find_key(self, tenant_id: UUID, key_id: UUID) -> KeyRecord | None:
        found = self.record if self.there else None
        passed = asyncio.Event()
        async with self.begun:
            self.reads.append(passed)
            self.begun.notify_all()
        await passed.wait()
        if self.broken:
            raise StoreUnavailable("down")
        return found

    async def touch_key(self, tenant_id: UUID, key_id: UUID, now: datetime) -> None:
        """Nobody asks."""

    async def read(self, number: int) -> asyncio.Event:
        """The read of that number, once it is under way."""
        async with asyncio.timeout(5), self.begun:
            await self.begun.wait_for(lambda: len(self.reads) > number)
        return self.reads[number]


@pytest.fixture
def issued() -> tuple[Keys, str]:
    record, text = issue_key(uuid4(), WISH, datetime.now(UTC))
    return Keys(record), text


async def test_requests_that_come_during_a_read_share_the_next(issued: tuple[Keys, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticate, "TRUSTED_S", 0.0)
    keys, text = issued
    authenticator = Authenticator(keys, SystemClock())
    first = asyncio.create_task(authenticator.scope(text, "1"))
    begun = await keys.read(0)
    keys.record = replace(keys.record, revoked_at=datetime.now(UTC))
    later = [asyncio.create_task(authenticator.scope(text, f"{n}")) for n in range(2, 6)]
    await asyncio.sleep(0)
    later[0].cancel()
    begun.set()
    assert (await first).request_id == "1"
    (await keys.read(1)).set()
    for one in later[1:]:
        with pytest.raises(Unauthenticated):
            await one
    assert len(keys.reads) == 2
    alone = asyncio.create_task(authenticator.scope(text, "7"))
    (await keys.read(2)).set()
    with pytest.raises(Unauthenticated):
        await alone


async def test_a_failed_read_fails_those_who_waited_for_it(issued: tuple[Keys, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticate, "TRUSTED_S", 0.0)
    keys, text = issued
    authenticator = Authenticator(keys, SystemClock())
    keys.broken = True
    both = [asyncio.create_task(authenticator.scope(text, "1"))]
    begun = await keys.read(0)
    both.append(asyncio.create_task(authenticator.scope(text, "2")))
    await asyncio.sleep(0)
    begun.set()
    (await keys.read(1)).set()
    for one in both:
        with pytest.raises(StoreUnavailable):
            await one
    keys.broken = False
    again = asyncio.create_task(authenticator.scope(text, "3"))
    (await keys.read(2)).set()
    assert (await again).request_id == "3"


async def test_what_was_found_serves_the_next_moment_and_no_more(
    issued: tuple[Keys, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, text = issued
    authenticator = Authenticator(keys, SystemClock())
    monkeypatch.setattr(authenticate, "TRUSTED_S", 3600.0)
    first = asyncio.create_task(authenticator.scope(text, "1"))
    (await keys.read(0)).set()
    await first
    assert (await authenticator.scope(text, "2")).request_id == "2"
    with pytest.raises(Unauthenticated):
        await authenticator.scope(text[:-1] + ("a" if text[-1] != "a" else "b"), "3")
    assert len(keys.reads) == 1
    keys.record = replace(keys.record, revoked_at=datetime.now(UTC))
    monkeypatch.setattr(authenticate, "TRUSTED_S", 0.0)
    last = asyncio.create_task(authenticator.scope(text, "4"))
    (await keys.read(1)).set()
    with pytest.raises(Unauthenticated):
        await last


async def test_who_comes_soon_after_a_read_began_shares_it(issued: tuple[Keys, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticate, "TRUSTED_S", 3600.0)
    keys, text = issued
    authenticator = Authenticator(keys, SystemClock())
    both = [asyncio.create_task(authenticator.scope(text, f"{n}")) for n in range(2)]
    (await keys.read(0)).set()
    assert [(await one).request_id for one in both] == ["0", "1"]
    assert len(keys.reads) == 1


async def test_a_key_in_use_is_read_again_before_its_time_is_over(
    issued: tuple[Keys, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "TRUSTED_S", 3600.0)
    keys, text = issued
    authenticator = Authenticator(keys, SystemClock())
    first = asyncio.create_task(authenticator.scope(text, "1"))
    (await keys.read(0)).set()
    await first
    monkeypatch.setattr(authenticate, "_AHEAD", 0.0)
    assert (await authenticator.scope(text, "2")).request_id == "2"
    again = await keys.read(1)
    assert (await authenticator.scope(text, "3")).request_id == "3"  # nobody waits, and there is one read at a time
    keys.record = replace(keys.record, revoked_at=datetime.now(UTC))
    again.set()
    await authenticator.close()
    assert len(keys.reads) == 2
    assert (await authenticator.scope(text, "4")).request_id == "4"  # that read began before the revocation
    (await keys.read(2)).set()
    await authenticator.close()
    with pytest.raises(Unauthenticated):
        await authenticator.scope(text, "5")
    (await keys.read(3)).set()
    await authenticator.close()


async def test_a_key_that_is_not_there_is_looked_up_each_time(issued: tuple[Keys, str], monkeypatch: pytest.MonkeyPatch) -> None:
    keys, text = issued
    monkeypatch.setattr(authenticate, "TRUSTED_S", 3600.0)
    authenticator = Authenticator(keys, SystemClock())
    keys.there = False
    for number in range(2):
        refused = asyncio.create_task(authenticator.scope(text, "1"))
        (await keys.read(number)).set()
        with pytest.raises(Unauthenticated):
            await refused


async def test_who_ends_a_key_waits_for_longer_than_a_read_is_trusted() -> None:
    clock = asyncio.get_running_loop().time
    before = clock()
    await freshness.forgotten()
    assert clock() - before > freshness.TRUSTED_S
