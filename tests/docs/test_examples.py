"""The examples, as a reader runs them."""

import sys
from collections.abc import Mapping

import httpx

from tests.docs.conftest import ran
from tests.http.conftest import Tenant

# Kills the agent after so many of its calls, in a session for each number, and lets it go on.
_KILLS = """
import sys, httpx
sys.path.insert(0, "docs/examples")
import session_resume as agent

class Killed(BaseException): pass

send = httpx.Client.send
def counted(self, *args, **kwargs):
    global left
    answer, left = send(self, *args, **kwargs), left - 1
    if not left:
        raise Killed
    return answer
httpx.Client.send = counted
for number in range(1, 8):
    left = number
    try:
        agent.main(f"trip-{number}", die_after=None)
    except Killed:
        agent.main(f"trip-{number}", die_after=None)
"""


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


async def test_an_agent_that_is_killed_after_any_call_loses_nothing(environment: Mapping[str, str], tenant: Tenant) -> None:
    done = await ran(environment, sys.executable, "-c", _KILLS)
    assert done.status == 0, done.all
    assert done.output.count("all 4 steps are done, each once") == 7
    assert done.output.count("doing:") == 7 * 4
    for number in range(1, 8):
        session = f"/v1/sessions/trip-{number}"
        said = (await tenant.http.get(f"{session}/messages")).json()["messages"]
        assert [one["id"] for one in said] == [f"step-{step}" for step in range(1, 5)], number
        points = (await tenant.http.get(f"{session}/checkpoints")).json()["checkpoints"]
        assert [one["step"] for one in points] == [1, 2, 3, 4]
        assert (await tenant.http.get(f"{session}/state/step")).json()["value"] == 4
