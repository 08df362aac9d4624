"""What keeps a session alive."""

from collections.abc import Awaitable, Callable

import pytest

from memoryd.sessions.model import CheckpointWish, Expected
from tests.sessions.conftest import LIMITS, Working


@pytest.mark.parametrize("kind", ["state", "key", "effect", "checkpoint", "checkpoints"])
async def test_every_read_renews(working: Working, kind: str) -> None:
    sessions, scope = working.sessions, working.scope
    await working.say("s", "a")
    await sessions.put_state(scope, "s", "k", 1, Expected(), None)
    await sessions.record_effect(scope, "s", "e", 1)
    point = (await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)).checkpoint_id
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "state": lambda: sessions.state(scope, "s"),
        "key": lambda: sessions.get_state(scope, "s", "k"),
        "effect": lambda: sessions.get_effect(scope, "s", "e"),
        "checkpoint": lambda: sessions.get_checkpoint(scope, "s", point),
        "checkpoints": lambda: sessions.checkpoints(scope, "s"),
    }
    for _ in range(3):
        working.clock.pass_(LIMITS.ttl_s - 1)
        await reads[kind]()
        assert await working.life.waiting(scope, "due", working.clock.now(), 1) == []
