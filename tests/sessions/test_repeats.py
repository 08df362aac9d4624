"""Appends without ids and keys that are sent again, on a real Valkey."""

import asyncio

import pytest

from memoryd.errors import Forbidden
from memoryd.sessions.model import Appended, Birth, CheckpointWish, NewMessage
from memoryd.sessions.repeats import WITHIN, Repeats
from memoryd.sessions.working import Finder
from memoryd.stores.sessions.messages import RedisMessages
from retrieval.scope import Action, Scope
from tests.sessions.conftest import LIMITS, Working, no_snapshot


@pytest.fixture
def repeats(working: Working) -> Repeats:
    finder = Finder(no_snapshot, working.clock)
    return Repeats(finder, RedisMessages(working.scripts, LIMITS), working.sessions, working.clock)


async def say(repeats: Repeats, working: Working, *texts: str, client_id: str | None = None) -> Appended:
    """As an edge does it, which writes down when."""
    payload = f'{{"role":"user","content":"%s","recorded_at":"{working.clock.now().isoformat()}"}}'
    messages = [NewMessage(client_id, None, False, payload % text) for text in texts]
    return await repeats.append(working.scope, "s", messages, Birth())


async def test_the_end_of_a_session_said_again_is_known_for_a_while(repeats: Repeats, working: Working) -> None:
    await say(repeats, working, "one", "two")
    working.clock.pass_(60)
    again = await say(repeats, working, "one", "two")
    assert [(one.position, one.created) for one in again.placed] == [(1, False), (2, False)]
    await say(repeats, working, "two")
    assert await working.said("s") == ["one", "two"]
    working.clock.pass_(WITHIN.total_seconds())
    assert (await say(repeats, working, "two")).placed[0].created
    assert await working.said("s") == ["one", "two", "two"]


async def test_what_others_said_meanwhile_makes_it_new(repeats: Repeats, working: Working) -> None:
    await say(repeats, working, "yes")
    await working.say("s", "really?")
    await say(repeats, working, "yes")
    assert await working.said("s") == ["yes", "really?", "yes"]


async def test_many_at_once_are_one(repeats: Repeats, working: Working) -> None:
    await asyncio.gather(*(say(repeats, working, "yes") for _ in range(10)))
    assert await working.said("s") == ["yes"]
    await asyncio.gather(*(say(repeats, working, "no") for _ in range(10)))
    assert await working.said("s") == ["yes", "no"]


@pytest.mark.parametrize("client_id", [None, "m1"])
async def test_what_a_restore_set_aside_is_new_when_it_is_said_again(
    repeats: Repeats, working: Working, client_id: str | None
) -> None:
    await working.say("s", "begin")
    made = await working.sessions.checkpoint(working.scope, "s", CheckpointWish(None, None, {}), None)
    for _ in range(3):
        await say(repeats, working, "yes", client_id=client_id)
        await say(repeats, working, "yes", client_id=client_id)
        assert await working.said("s") == ["begin", "yes"]
        await working.sessions.restore(working.scope, "s", made.checkpoint_id, None)


async def test_a_key_that_may_only_write_is_enough_and_needed(repeats: Repeats, working: Working) -> None:
    writer, reader = (Scope(working.scope.tenant_id, "k", frozenset({one}), None) for one in (Action.WRITE, Action.READ))
    message = NewMessage(None, None, False, f'{{"role":"user","content":"x","recorded_at":"{working.clock.now().isoformat()}"}}')
    for _ in range(2):
        await repeats.append(writer, "s", [message], Birth())
    assert await working.said("s") == ["x"]
    with pytest.raises(Forbidden):
        await repeats.append(reader, "s", [message], Birth())
