"""An agent that remembers across sessions and packs its context, over REST. The model is scripted: put yours in its place.

    memoryd up                       # in one terminal: prints the URL and a key
    MEMORYD_URL=… MEMORYD_API_KEY=… python docs/examples/agent_loop.py

Each turn: append what was said to the session, pack one prompt of the session's window and of long-term memory under one
budget, answer, append the answer. At the end of a session its turns become memories.
"""

import os
import re
import sys
import uuid

import httpx

BUDGET = 300
USER = "maya"


class ScriptedModel:
    """Answers from its prompt and knows nothing else."""

    def answer(self, prompt: str, said: str) -> str:
        """The reply."""
        if "book" not in said:
            return "Noted."
        food = re.search(r"I am (vegetarian|vegan)", prompt)
        friend = re.search(r"my (?:sister|brother) (\w+)", prompt)
        return f"A {food[1] if food else 'usual'} table, for you and {friend[1] if friend else 'nobody'}."


class Memory:
    """What the loop needs of memoryd, in four calls."""

    def __init__(self, http: httpx.Client, session: str) -> None:
        self._http, self._session = http, session

    def say(self, role: str, text: str, turn: int) -> None:
        """Append a message; with an id of its own, a repeated call appends nothing twice."""
        message = {"role": role, "content": text, "id": f"{role}-{turn}"}
        self._post(f"/v1/sessions/{self._session}/messages", {"user_id": USER, "messages": [message]})

    def prompt(self, said: str) -> str:
        """Long-term memory and this session, in ``BUDGET`` tokens at most."""
        packed = self._post("/v1/context", {"query": said, "budget_tokens": BUDGET, "session_id": self._session})
        print(f"  prompt  {packed['used_tokens']} of {BUDGET} tokens, {len(packed['items'])} from long-term memory")
        return str(packed["text"])

    def keep(self) -> int:
        """Make memories of the session's turns. The number of them."""
        return int(self._post(f"/v1/sessions/{self._session}/commit", {})["created"])

    def _post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        # One key for one write: whatever a proxy or a retry repeats happens once.
        answer = self._http.post(path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
        return dict(answer.raise_for_status().json())


def session(http: httpx.Client, name: str, *messages: str) -> list[str]:
    """A session from its first message to its commit; the answers."""
    print(f"\n{name}")
    memory, model, answers = Memory(http, name), ScriptedModel(), []
    for turn, said in enumerate(messages, 1):
        print(f"  user    {said}")
        memory.say("user", said, turn)
        answers.append(model.answer(memory.prompt(said), said))
        memory.say("assistant", answers[-1], turn)
        print(f"  agent   {answers[-1]}")
    print(f"  {memory.keep()} turns are memories now")
    return answers


def main() -> None:
    """Two sessions, that share nothing but memory."""
    headers = {"Authorization": f"Bearer {os.environ['MEMORYD_API_KEY']}"}
    with httpx.Client(base_url=os.environ["MEMORYD_URL"], headers=headers, timeout=30) as http:
        session(http, "monday", "I am vegetarian, since two years.", "On Friday my sister Ana visits me in Porto.")
        (answer,) = session(http, "friday", "Please book dinner for Ana and me, something vegetarian.")
    if answer != "A vegetarian table, for you and Ana.":
        sys.exit("the agent forgot something")
    print("\nRemembered across sessions.")


if __name__ == "__main__":
    main()
