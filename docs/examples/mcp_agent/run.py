"""An agent that remembers across sessions, through MCP: `memoryd mcp` over stdio, no set-up and no network.

The model is scripted, so that the example runs anywhere; put yours in the place of ``ScriptedModel``. What surrounds it is
what any agent does: read how to use the memory, pack what is known into the prompt, let the model call tools, answer.

    python docs/examples/mcp_agent/run.py [DATA_DIR]
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent

BUDGET = 400
USER = "caroline"


@dataclass(frozen=True)
class ToolCall:
    """What the model wants done."""

    name: str
    arguments: dict[str, object] = field(default_factory=dict)


class ScriptedModel:
    """Answers like a model that was told to use its memory, but by rules. It knows nothing but its prompt."""

    def decide(self, said: str, known: str) -> list[ToolCall]:
        """Tools to call before answering. ``known`` is the packed context, with the ids of what it shows."""
        if found := re.search(r"I moved to (\w+)", said):
            fact: dict[str, object] = {"text": f"Caroline lives in {found[1]}.", "user_id": USER}
            if old := re.search(r"id ([0-9a-f-]{36}).*lives in", known):
                fact["supersedes"] = old[1]
            return [ToolCall("remember", fact)]
        if found := re.search(r"I take (.+) in my coffee", said):
            wish = f"Caroline takes {found[1]} in her coffee."
            return [ToolCall("remember", {"text": wish, "kind": "preference", "user_id": USER})]
        return []

    def answer(self, said: str, known: str) -> str:
        """The reply, from what the prompt says and nothing else."""
        if "coffee, please" in said:
            milk = re.search(r"takes (.+?) in her coffee", known)
            home = re.search(r"lives in (\w+)", known)
            return f"Coffee with {milk[1] if milk else 'nothing'}, to {home[1] if home else 'where?'}."
        return "Noted."


async def turn(client: Client, model: ScriptedModel, said: str) -> str:
    """One turn: recall, act, and answer from a context within the budget."""
    print(f"  user   {said}")
    known = await ask(client, ToolCall("recall", {"query": said, "limit": 3, "budget_tokens": BUDGET}))
    for call in model.decide(said, known):
        print(f"  tool   {call.name}: {await ask(client, call)}")
    context = await ask(client, ToolCall("context", {"query": f"{said} Caroline", "budget_tokens": BUDGET}))
    reply = model.answer(said, context)
    print(f"  agent  {reply}")
    return reply


async def ask(client: Client, call: ToolCall) -> str:
    """A tool's readable result; an error is for the model to read, too."""
    result: CallToolResult = await client.call_tool(call.name, call.arguments)
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def session(data: Path, title: str, *messages: str) -> list[str]:
    """A session is a process of its own: whatever survives it is in the memory."""
    print(f"\n{title}")
    server = StdioServerParameters(command=sys.executable, args=["-m", "memoryd", "mcp", "--data-dir", str(data)])
    async with Client(server) as client:
        guide = await client.get_prompt("use_memory")
        tools = (await client.list_tools()).tools
        print(f"  ({len(tools)} tools; for the system prompt: {guide.description})")
        return [await turn(client, ScriptedModel(), message) for message in messages]


async def main(data: Path) -> None:
    """Three sessions."""
    order = "One coffee, please, to my door."
    await session(data, "Monday", "Hi! I moved to Oslo in May.", "I take oat milk in my coffee.")
    (tuesday,) = await session(data, "Tuesday, another process", order)
    *_, friday = await session(data, "Friday", "News: I moved to Bergen!", order)
    if (tuesday, friday) != ("Coffee with oat milk, to Oslo.", "Coffee with oat milk, to Bergen."):
        sys.exit("the agent forgot something")
    print("\nRemembered across sessions, and corrected.")


@contextmanager
def data_folder() -> Iterator[Path]:
    """The folder that was named, or one for this run."""
    if len(sys.argv) > 1:
        yield Path(sys.argv[1])
        return
    with tempfile.TemporaryDirectory(prefix="memoryd-agent-") as folder:
        Path(folder).chmod(0o711)  # as root, PostgreSQL runs as another user
        yield Path(folder) / "data"


if __name__ == "__main__":
    with data_folder() as folder:
        asyncio.run(main(folder))
