"""What the protocol costs: the same recall over REST and over MCP, in one run, each question asked every way."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from pydantic import BaseModel, Field, JsonValue

from evals.client import ApiError, Client, Recall
from evals.report import Cell, Table
from evals.timing import summarise

HANDSHAKE, STATELESS = "2025-11-25", "2026-07-28"
COLUMNS = ("way", "n", "p50 ms", "p95 ms", "p99 ms", "more than REST, median of pairs, ms")
LIMIT_MS = 3.0
_LIMIT = 10
_BUDGET = 4_000  # all ten hits in full: both ways answer the same
_ME: JsonValue = {"name": "memoryd evals", "version": "1"}


class _Hit(BaseModel):
    id: str


class _Structured(BaseModel):
    hits: list[_Hit]


class _Result(BaseModel):
    structured: _Structured = Field(alias="structuredContent")


class _Answer(BaseModel):
    result: _Result


async def measure(client: Client, space: str, questions: Sequence[str]) -> Table:
    """Raises :class:`ApiError` when a way finds other memories than REST."""
    ways: dict[str, Callable[[str], Awaitable[list[str]]]] = {
        "REST": lambda question: _rest(client, space, question),
        f"MCP {HANDSHAKE}": lambda question: _mcp(client, space, question, HANDSHAKE),
        f"MCP {STATELESS}": lambda question: _mcp(client, space, question, STATELESS),
    }
    names = list(ways)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number, question in enumerate(questions):
        found: dict[str, list[str]] = {}
        turn = number % len(names)  # the first to ask pays for pages that the others find in memory
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            found[name] = await ways[name](question)
            taken[name].append((time.perf_counter() - started) * 1000)
        if any(ids != found["REST"] for ids in found.values()):
            raise ApiError("a recall over MCP found other memories than over REST")
    return Table("Recall over MCP and over REST", COLUMNS, tuple(_row(name, taken) for name in names), note=_NOTE)


def _row(name: str, taken: dict[str, list[float]]) -> tuple[Cell, ...]:
    summary = summarise(taken[name])
    pairs = summarise([ours - rest for ours, rest in zip(taken[name], taken["REST"], strict=True)])
    return (name, summary.count, summary.p50, summary.p95, summary.p99, None if name == "REST" else pairs.p50)


async def _rest(client: Client, space: str, question: str) -> list[str]:
    answer = await client.recall(Recall(question, space, limit=_LIMIT))
    return [hit.id for hit in answer.hits]


async def _mcp(client: Client, space: str, question: str, version: str) -> list[str]:
    arguments: JsonValue = {"query": question, "spaces": [space], "limit": _LIMIT, "budget_tokens": _BUDGET}
    params: dict[str, JsonValue] = {"name": "recall", "arguments": arguments}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": version}
    if version == STATELESS:
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "recall"}
        about = "io.modelcontextprotocol/"
        params["_meta"] = {f"{about}protocolVersion": version, f"{about}clientInfo": _ME, f"{about}clientCapabilities": {}}
    body: dict[str, JsonValue] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answer = _Answer.model_validate_json(await client.post("/mcp", body, headers))
    return [hit.id for hit in answer.result.structured.hits]


_NOTE = (
    "Seen by one caller with one connection, one question at a time; every question is asked each way, and the ways take turns "
    f"to go first. All answer the same ten memories. {HANDSHAKE} is the protocol of clients that shake hands, {STATELESS} that "
    f"of those that do not. The promise: at most {LIMIT_MS:g} ms more at the median."
)
