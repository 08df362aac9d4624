"""Requests under an ``Idempotency-Key`` that are sent again after a restore."""

import pytest

from memoryd.errors import IdempotencyKeyReused
from memoryd.memory.model import Idempotency
from memoryd.sessions.model import Birth, CheckpointWish, Expected
from memoryd.stores.sessions.keys import Keys
from tests.sessions.conftest import Working, message

ANY = Expected()


def once(key: str, print_: bytes = b"\x01") -> Idempotency:
    return Idempotency(key, print_)


async def step(working: Working) -> tuple[int, bool]:
    done = await working.sessions.append(working.scope, "s", [message("turn")], Birth(), once("turn"))
    return done.placed[0].position, done.placed[0].created


async def test_an_append_that_a_restore_set_aside_is_new_under_the_same_key(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "begin")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    assert [await step(working) for _ in range(2)] == [(2, True)] * 2  # a repetition is answered as the first
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    assert [await step(working) for _ in range(2)] == [(3, True)] * 2
    assert await working.said("s") == ["begin", "turn"]
    # Set aside and brought back, it is there.
    undo = (await sessions.restore(scope, "s", point.checkpoint_id, None)).undo
    await sessions.restore(scope, "s", undo, None)
    assert await step(working) == (3, True)
    assert await working.said("s") == ["begin", "turn"]
    with pytest.raises(IdempotencyKeyReused):
        await sessions.append(scope, "s", [message("other")], Birth(), once("turn", b"\x02"))


async def test_an_undo_brings_back_what_the_key_was_answered_before(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "begin")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    assert await step(working) == (2, True)
    undo = (await sessions.restore(scope, "s", point.checkpoint_id, None)).undo
    assert await step(working) == (3, True)
    second = (await sessions.restore(scope, "s", undo, None)).undo
    assert [await step(working) for _ in range(2)] == [(2, True)] * 2
    assert await working.said("s") == ["begin", "turn"]
    await sessions.restore(scope, "s", second, None)
    assert await step(working) == (3, True)
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    assert [await step(working) for _ in range(2)] == [(4, True)] * 2
    assert await working.said("s") == ["begin", "turn"]


async def test_an_undo_brings_back_a_change_of_the_state_and_what_replaced_it(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "begin")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)

    async def change() -> tuple[int, bool]:
        return await sessions.put_state(scope, "s", "x", 1, ANY, once("put"))

    assert await change() == (1, True)
    await sessions.put_state(scope, "s", "x", 5, ANY, None)
    undo = (await sessions.restore(scope, "s", point.checkpoint_id, None)).undo
    assert await change() == (3, True)
    await sessions.restore(scope, "s", undo, None)
    assert await change() == (1, True)
    assert [one.value for one in await sessions.state(scope, "s")] == [5]


async def test_what_came_before_the_checkpoint_is_known_after_the_restore(working: Working) -> None:
    await working.say("s", "begin")
    await step(working)
    point = await working.sessions.checkpoint(working.scope, "s", CheckpointWish(None, None, {}), once("checkpoint"))
    await working.say("s", "more")
    for _ in range(2):
        await working.sessions.restore(working.scope, "s", point.checkpoint_id, None)
        assert await step(working) == (2, True)
    again = await working.sessions.checkpoint(working.scope, "s", CheckpointWish(None, None, {}), once("checkpoint"))
    assert again.checkpoint_id == point.checkpoint_id


async def test_an_append_of_what_was_known_is_new_when_that_was_set_aside(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "begin")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    known = message("known", client_id="m1")
    await sessions.append(scope, "s", [known], Birth(), None)
    for _ in range(2):
        done = await sessions.append(scope, "s", [known], Birth(), once("k"))
        assert (done.placed[0].position, done.placed[0].created) == (2, False)
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    done = await sessions.append(scope, "s", [known], Birth(), once("k"))
    assert (done.placed[0].position, done.placed[0].created) == (3, True)


async def test_a_receipt_that_says_nothing_of_restores_is_one(working: Working) -> None:
    """As earlier builds wrote them."""
    sessions, scope = working.sessions, working.scope
    await working.say("s", "begin")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await step(working)
    receipts = Keys(scope.tenant_id).part("s", "receipts")
    rows = await working.redis.command("HGETALL", receipts)
    assert isinstance(rows, list)
    field, row = rows
    assert isinstance(field, bytes)
    assert isinstance(row, bytes)
    at, rest = row.split(b"|", 1)
    await working.redis.command("HSET", receipts, field, at.split(b":")[0] + b"|" + rest)
    assert await step(working) == (2, True)
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    assert await step(working) == (2, True)


async def test_a_change_of_the_state_that_a_restore_took_back_is_made_again(working: Working) -> None:
    sessions, scope = working.sessions, working.scope
    await sessions.put_state(scope, "s", "old", 0, ANY, None)
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)

    async def change() -> tuple[int, bool]:
        await sessions.delete_state(scope, "s", "old", None, once("delete"))
        return await sessions.put_state(scope, "s", "new", 1, Expected(absent=True), once("put"))

    async def state() -> dict[str, object]:
        return {one.key: one.value for one in await sessions.state(scope, "s")}

    assert [await change() for _ in range(2)] == [(2, True)] * 2
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    assert await state() == {"old": 0}
    assert [await change() for _ in range(2)] == [(3, True)] * 2
    assert await state() == {"new": 1}
    undo = (await sessions.restore(scope, "s", point.checkpoint_id, None)).undo
    await sessions.restore(scope, "s", undo, None)
    assert await change() == (3, True)
    assert await state() == {"new": 1}


async def test_a_repeated_change_does_not_undo_a_later_one_that_a_restore_kept(working: Working) -> None:
    sessions, scope = working.sessions, working.scope

    async def put_old() -> None:
        await sessions.put_state(scope, "s", "put", "old", ANY, once("put"))

    async def delete() -> None:
        await sessions.delete_state(scope, "s", "deleted", None, once("delete"))

    await put_old()
    await sessions.put_state(scope, "s", "put", "new", ANY, None)
    await sessions.put_state(scope, "s", "deleted", "old", ANY, None)
    await delete()
    await sessions.put_state(scope, "s", "deleted", "new", ANY, None)
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    await put_old()
    await delete()
    assert {one.key: one.value for one in await sessions.state(scope, "s")} == {"put": "new", "deleted": "new"}
