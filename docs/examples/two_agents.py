"""Two agents as a team: they share a space (what they know) and a session (what they are doing).

    memoryd up                       # in one terminal: prints the URL and a key
    MEMORYD_URL=… MEMORYD_API_KEY=… python docs/examples/two_agents.py

The key must be an admin's: the team gets keys of its own, confined to its space. Both agents run at the same time. The
session's state says who has which task: it is taken by compare-and-set, so that no task is done twice. What an agent finds
out goes into the space, where the other one recalls it.
"""

import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

# What they know stays; what they are doing is new each time.
SPACE, SESSION = "expedition", f"expedition-{uuid.uuid4()}"
# A scripted model: what each task comes to, and what it has to know before.
FINDINGS = {
    "weather": "The pass is free of snow from the tenth of June on.",
    "huts": "The hut below the pass has four beds left in June.",
    "permits": "A permit for the valley costs twelve euros a person.",
    "train": "The last train back leaves the valley at seven in the evening.",
}


@dataclass(frozen=True)
class Agent:
    """A member of the team, with a key of its own."""

    name: str
    http: httpx.Client

    def work(self) -> list[str]:
        """Take tasks until none is left; those that were this agent's."""
        return [task for task in FINDINGS if self._take(task) and self._do(task)]

    def _take(self, task: str) -> bool:
        """Whether the task is ours now: set only where nobody has set it."""
        answer = self.http.put(f"/v1/sessions/{SESSION}/state/{task}", json={"value": self.name}, headers={"If-None-Match": "*"})
        if answer.status_code == httpx.codes.CONFLICT:
            return False
        answer.raise_for_status()
        return True

    def _do(self, task: str) -> bool:
        fact = {"text": FINDINGS[task], "space": SPACE, "kind": "semantic", "agent_id": self.name, "topics": [task]}
        self.http.post("/v1/memories", json={"memories": [fact]}).raise_for_status()
        said = {"role": "assistant", "content": f"{task}: done", "agent_id": self.name, "id": task}
        self.http.post(f"/v1/sessions/{SESSION}/messages", json={"messages": [said]}).raise_for_status()
        return True

    def recall(self, query: str) -> tuple[str, str]:
        """The best answer that the team's memory has, and who found it out."""
        body = {"query": query, "limit": 1}
        (hit,) = self.http.post("/v1/recall", json=body).raise_for_status().json()["hits"]
        return hit["text"], hit["agent_id"]


def key(admin: httpx.Client, name: str) -> str:
    """A key that reads and writes in the team's space, and sees no other."""
    body = {"name": name, "actions": ["read", "write"], "spaces": [SPACE]}
    return str(admin.post("/v1/keys", json=body).raise_for_status().json()["key"])


def client(api_key: str) -> httpx.Client:
    """A client that holds ``api_key``."""
    headers = {"Authorization": f"Bearer {api_key}"}
    return httpx.Client(base_url=os.environ["MEMORYD_URL"], headers=headers, timeout=30)


def main() -> None:
    """The team at work, and what it knows afterwards."""
    with client(os.environ["MEMORYD_API_KEY"]) as admin:
        # The session is made in the team's space, so that both keys see it.
        brief = {"role": "user", "content": "Plan the hike over the pass in June.", "pinned": True, "id": "brief"}
        body = {"space": SPACE, "messages": [brief]}
        admin.post(f"/v1/sessions/{SESSION}/messages", json=body).raise_for_status()
        keys = [key(admin, name) for name in ("scout", "clerk")]
    with client(keys[0]) as first, client(keys[1]) as second, ThreadPoolExecutor(2) as both:
        team = [Agent("scout", first), Agent("clerk", second)]
        done = {agent.name: tasks for agent, tasks in zip(team, both.map(Agent.work, team), strict=True)}
        for name, tasks in done.items():
            print(f"{name} did {', '.join(tasks) or 'nothing: the other one was faster'}")
        for agent in team:
            for query in ("When is there no snow on the pass?", "When is the last train?"):
                text, finder = agent.recall(query)
                print(f"{agent.name} asks: {query} {text} (from {finder})")
        messages = first.get(f"/v1/sessions/{SESSION}/messages").raise_for_status().json()["messages"]
        plan = second.get(f"/v1/sessions/{SESSION}/context", params={"budget_tokens": 400}).raise_for_status().json()
    if sorted(task for tasks in done.values() for task in tasks) != sorted(FINDINGS):
        sys.exit("a task was done twice, or never")
    print(f"{len(messages)} messages in the session, {plan['used_tokens']} tokens; every task was done once.")


if __name__ == "__main__":
    main()
