"""What Redis holds of one session is bounded, whatever its callers do: copies of the state, receipts, small things in numbers."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from memoryd.errors import NotFound, PayloadTooLarge
from memoryd.memory.model import Idempotency
from memoryd.sessions.model import Birth, CheckpointWish, Expected
from memoryd.stores.sessions.keys import PARTS, Keys
from tests.sessions.conftest import LIMITS, Working, build, message

ANY = Expected()
RECEIPT_BYTES = 4 * 2**20


def once(key: str) -> Idempotency:
    return Idempotency(key, b"\x01")


async def in_redis(working: Working, session_id: str, parts: Sequence[str] = PARTS) -> int:
    """Bytes that Redis takes for a session, by its own account."""
    keys = Keys(working.scope.tenant_id)
    used = 0
    for part in parts:
        size = await working.redis.command("MEMORY", "USAGE", keys.part(session_id, part), "SAMPLES", 0)
        used += size if isinstance(size, int) else 0
    return used


async def test_checkpoints_are_kept_by_bytes_too(working: Working) -> None:
    """Copies of 900 bytes where 2,400 are kept, of which the newest and the one that is restored stay."""
    limits = replace(LIMITS, session_bytes=200, state_bytes=1_000)
    small = build(working.redis, working.clock, working.scope, limits)
    sessions, scope = small.sessions, small.scope

    async def kept() -> list[str | None]:
        found = await sessions.checkpoints(scope, "s")
        states = [(await sessions.get_checkpoint(scope, "s", one.checkpoint_id)).state for one in found]
        assert all(len(str(state[0].value)) == 900 for state in states)
        return ["undo" if one.automatic else one.label for one in found]

    async def make(label: str | None) -> UUID:
        return (await sessions.checkpoint(scope, "s", CheckpointWish(None, label, {}), None)).checkpoint_id

    await sessions.put_state(scope, "s", "k", "x" * 900, ANY, None)
    first = await make("first")
    await make(None)
    assert await kept() == ["first", None]
    await make("third")
    assert await kept() == ["first", "third"], "an unlabelled one goes first"
    await sessions.restore(scope, "s", first, None)
    assert await kept() == ["first", "undo"], "the one that was restored stays, and the newest"
    await sessions.restore(scope, "s", first, None)
    await make("last")
    assert len(await kept()) == 2
    # What is larger than the room by itself is kept alone, so that there is always a way back.
    tight = build(working.redis, working.clock, working.scope, replace(LIMITS, session_bytes=1, state_bytes=1))
    point = await tight.sessions.checkpoint(scope, "s", CheckpointWish(None, "alone", {}), None)
    assert await kept() == ["alone"]
    done = await tight.sessions.restore(scope, "s", point.checkpoint_id, None)
    assert await kept() == ["alone", "undo"]
    assert (await sessions.get_checkpoint(scope, "s", done.undo)).automatic


async def test_receipts_are_kept_by_bytes_too(working: Working) -> None:
    """Of receipts of 200 kB each the newest are kept, and forgotten ones make room again."""
    scope = replace(working.scope, principal="p" * 100_000)
    sessions = working.sessions
    for number in range(60):
        await sessions.append(scope, "s", [message(f"{number}")], Birth(), once(f"k{number}"))
    assert await in_redis(working, "s", ["receipts", "receipt_order"]) < 1.1 * RECEIPT_BYTES
    assert (await sessions.append(scope, "s", [message("59")], Birth(), once("k59"))).placed[0].position == 60
    assert (await sessions.append(scope, "s", [message("45")], Birth(), once("k45"))).placed[0].position == 46
    assert (await sessions.append(scope, "s", [message("0")], Birth(), once("k0"))).placed[0].position == 61, "long forgotten"
    # A key used again after a day is the newest again, and counts once.
    working.clock.pass_(86_401)
    for _ in range(60):
        await sessions.append(scope, "s", [message("again")], Birth(), once("k0"))
    assert (await sessions.append(scope, "s", [message("again")], Birth(), once("k0"))).placed[0].position == 62
    keys = Keys(scope.tenant_id)
    counted = await working.redis.command("HGET", keys.part("s", "meta"), "rbytes")
    order = await working.redis.command("LRANGE", keys.part("s", "receipt_order"), 0, -1)
    rows = await working.redis.command("HGETALL", keys.part("s", "receipts"))
    assert isinstance(counted, bytes)
    assert isinstance(order, list)
    assert isinstance(rows, list)
    assert len(order) == len(rows) / 2
    assert int(counted) == sum(len(one) for one in (*order, *rows) if isinstance(one, bytes))


async def test_keys_of_the_state_and_agents_are_counted(working: Working) -> None:
    few = build(working.redis, working.clock, working.scope, replace(LIMITS, state_keys=3, agents=2))
    sessions, scope = few.sessions, few.scope
    for key in "abc":
        await sessions.put_state(scope, "s", key, 1, ANY, None)
    with pytest.raises(PayloadTooLarge, match="keys"):
        await sessions.put_state(scope, "s", "d", 1, ANY, None)
    await sessions.put_state(scope, "s", "a", 2, ANY, None)
    await sessions.delete_state(scope, "s", "b", None, None)
    await sessions.put_state(scope, "s", "d", 1, ANY, None)
    assert [one.key for one in await sessions.state(scope, "s")] == ["a", "c", "d"]

    await sessions.append(scope, "s", [message("1", agent_id="planner"), message("2", agent_id="writer")], Birth(), None)
    with pytest.raises(PayloadTooLarge, match="agents"):
        await sessions.append(scope, "s", [message("3"), message("4", agent_id="third")], Birth(), None)
    with pytest.raises(PayloadTooLarge, match="agents"):
        await sessions.append(scope, "new", [message("1", agent_id=name) for name in "xyz"], Birth(), None)
    with pytest.raises(NotFound):
        await few.said("new")
    await sessions.append(scope, "s", [message("3", agent_id="writer"), message("4")], Birth(), None)
    assert await few.said("s") == ["1", "2", "3", "4"]
    assert (await sessions.get(scope, "s")).agents == ("planner", "writer")
