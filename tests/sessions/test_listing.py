"""Lists of sessions, on a real Valkey."""

from collections.abc import Sequence

import pytest

from memoryd.sessions.model import Birth
from memoryd.stores.redis import Argument, Reply
from retrieval.scope import Scope
from tests.sessions.conftest import Working, message, tenant


async def test_sessions_are_listed_newest_first_by_user_and_agent(working: Working) -> None:
    sessions, scope, life = working.sessions, working.scope, working.life
    for number in range(7):
        birth = Birth(user_id=f"u{number % 2}", space="blue" if number % 3 else "red")
        await sessions.append(scope, f"s{number}", [message("x", agent_id=f"agent {number % 3}")], birth, None)
        working.clock.pass_(0 if number in (2, 3) else 1)
    await sessions.append(scope, "s0", [message("y", agent_id="agent 2")], Birth(), None)

    async def listed(limit: int, scope: Scope = scope, **which: str | None) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            by = {"user_id": None, "agent_id": None} | which
            page = await life.page(scope, user_id=by["user_id"], agent_id=by["agent_id"], cursor=cursor, limit=limit)
            assert len(page.sessions) <= limit
            found += [one.session_id for one in page.sessions]
            cursor = page.next_cursor
            if cursor is None:
                return found

    everything = ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]
    for limit in (1, 2, 3, 7, 50):
        assert await listed(limit) == everything
        assert await listed(limit, user_id="u1") == ["s5", "s3", "s1"]
        assert await listed(limit, agent_id="agent 2") == ["s5", "s2", "s0"]
        assert await listed(limit, agent_id="agent 2", user_id="u1") == ["s5"]
        assert await listed(limit, agent_id="agent 2", user_id="u0") == ["s2", "s0"]
        assert await listed(limit, tenant(spaces=frozenset({"red"}), tenant_id=scope.tenant_id)) == ["s6", "s3", "s0"]
    page = await life.page(scope, user_id="u0", agent_id=None, cursor=None, limit=9)
    assert [one.agents for one in page.sessions] == [("agent 0",), ("agent 1",), ("agent 2",), ("agent 0", "agent 2")]


async def test_a_confined_list_looks_at_so_many_sessions_and_goes_on_later(
    working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        birth = Birth(space="rare" if number in (0, 30) else "blue")
        await working.sessions.append(working.scope, f"s{number}", [message("x")], birth, None)
        working.clock.pass_(1)
    rare, life = tenant(spaces=frozenset({"rare"}), tenant_id=working.scope.tenant_id), working.life
    together, asked = working.redis.together, 0

    async def counted(commands: Sequence[Sequence[Argument]], *, atomic: bool) -> list[Reply]:
        nonlocal asked
        asked += 1
        return await together(commands, atomic=atomic)

    monkeypatch.setattr(working.redis, "together", counted)
    page = await life.page(rare, user_id=None, agent_id=None, cursor=None, limit=2)
    assert ([one.session_id for one in page.sessions], page.next_cursor, asked) == (["s30", "s0"], None, 1)
    monkeypatch.setattr("memoryd.stores.sessions.life._STEP", 5)
    monkeypatch.setattr("memoryd.stores.sessions.life._STEPS", 3)
    found: list[list[str]] = []
    cursor = None
    while not found or cursor is not None:
        page = await life.page(rare, user_id=None, agent_id=None, cursor=cursor, limit=1)
        found.append([one.session_id for one in page.sessions])
        cursor = page.next_cursor
    assert found == [[], ["s30"], [], ["s0"]]
