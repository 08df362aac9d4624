"""Errors as results that a model can read and act on."""

from mcp.types import CallToolResult, TextContent
from pydantic import JsonValue, ValidationError

from memoryd.mcp.arguments import SEARCH_KNOWLEDGE, SESSION
from retrieval.errors import MemorydError

_AGAIN = "Take an id from a fresh recall or timeline."
# What to do about an error, where its detail does not say.
_ADVICE = {
    "forbidden": "Do without, or ask for a key that has the action.",
    "space_not_found": "Resource memoryd://spaces lists the spaces of this key.",
    "not_found": _AGAIN,
    "handle_invalid": _AGAIN,
    "handle_expired": _AGAIN,
    "budget_too_small": "Ask with a larger budget_tokens.",
    "conflict": "Recall the present state and decide again.",
    "idempotency_key_reused": "Leave the key out, or make another.",
}
_ADVICE_OF_SESSIONS = {
    "not_found": "append begins a session; read lists its checkpoints.",
    "conflict": "Leave out the space, or name another session.",
}
_ADVICE_OF_KNOWLEDGE = dict.fromkeys(
    ("not_found", "version_gone"),
    "Resource memoryd://knowledge-bases lists them, memoryd://knowledge-bases/{name}/versions the versions of one.",
)
_ADVICE_OF = {SESSION: _ADVICE_OF_SESSIONS, SEARCH_KNOWLEDGE: _ADVICE_OF_KNOWLEDGE}
_SHOWN_NAME = 40


def refused(code: str, detail: str, retry_after_s: float | None = None) -> CallToolResult:
    """An error with its stable code, and what to do about it."""
    structured: dict[str, JsonValue] = {"code": code, "detail": detail}
    if retry_after_s is not None:
        structured["retry_after_s"] = retry_after_s
    content = [TextContent(type="text", text=f"{code}: {detail}")]
    return CallToolResult(content=content, structured_content=structured, is_error=True)


def of_error(error: MemorydError, tool: str) -> CallToolResult:
    """One of our errors, that ``tool`` met."""
    known = _ADVICE | _ADVICE_OF.get(tool, {})
    detail, advice = str(error) or error.code, known.get(error.code, "")
    if error.retryable:
        advice = f"Try again in {max(1, round(error.retry_after_s or 1))} s; repeating is safe."
    return refused(error.code, f"{detail}. {advice}" if advice else detail, error.retry_after_s)


def of_arguments(error: ValidationError) -> CallToolResult:
    """Which arguments are wrong and how. What was sent stays out of it: it may be large, or secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:5]
    wrong = [(".".join(str(part)[:_SHOWN_NAME] for part in one["loc"]), str(one["msg"])) for one in found]
    return refused("invalid_request", "; ".join(f"{name or 'arguments'}: {message}" for name, message in wrong))
