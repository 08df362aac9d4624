"""The examples, as a reader runs them."""

import sys
from collections.abc import Mapping

import httpx

from tests.docs.conftest import ran
from tests.http.conftest import Tenant


async def test_an_agent_remembers_across_sessions(environment: Mapping[str, str], tenant: Tenant) -> None:
    done = await ran(environment, sys.executable, "docs/examples/agent_loop.py")
    assert done.status == 0, done.all
    assert "agent   A vegetarian table, for you and Ana." in done.output
    assert done.output.endswith("Remembered across sessions.\n")
    kept = (await tenant.http.get("/v1/memories", params={"session_id": "monday"})).json()["memories"]
    assert len(kept) == 4


async def test_an_agent_that_runs_again_says_nothing_twice(environment: Mapping[str, str], tenant: Tenant) -> None:
    for _ in range(2):
        done = await ran(environment, sys.executable, "docs/examples/agent_loop.py")
        assert done.status == 0, done.all
    assert len((await tenant.http.get("/v1/memories")).json()["memories"]) == 6


async def test_a_team_shares_what_it_knows_and_does(environment: Mapping[str, str], tenant: Tenant) -> None:
    await tenant.remember("The pass is closed for good.", space="elsewhere")
    done = await ran(environment, sys.executable, "docs/examples/two_agents.py")
    assert done.status == 0, done.all
    for agent in ("scout", "clerk"):
        assert f"{agent} asks: When is there no snow on the pass? The pass is free of snow from the tenth" in done.output
        assert f"{agent} asks: When is the last train? The last train back leaves" in done.output
    assert "5 messages in the session" in done.output
    assert "closed for good" not in done.output


async def test_a_team_can_begin_again(environment: Mapping[str, str]) -> None:
    for _ in range(2):
        done = await ran(environment, sys.executable, "docs/examples/two_agents.py")
        assert done.status == 0, done.all
        assert "5 messages in the session" in done.output


async def test_a_killed_agent_goes_on_and_does_nothing_twice(environment: Mapping[str, str], tenant: Tenant) -> None:
    first, second = [await ran(environment, sys.executable, "docs/examples/session_resume.py") for _ in range(2)]
    assert first.status == -9, first.all
    assert second.status == 0, second.all
    assert first.output.count("doing:") == second.output.count("doing:") == 2
    assert "all 4 steps are done, each once" in second.output
    state = await tenant.http.get("/v1/sessions/trip-42/state/step")
    assert (state.status_code, state.json()["value"]) == (httpx.codes.OK, 4)
