"""``POST /v1/context`` with a session: working memory as one section beside long-term memory, under the one budget."""

import asyncio
from dataclasses import dataclass, replace

from memoryd.errors import StoreUnavailable
from memoryd.memory.context import Context, ContextRequest, Contexts
from memoryd.sessions.archive import SnapshotCorrupt
from memoryd.sessions.commit import external_id
from memoryd.sessions.window import PinnedTooLarge, Window, Windows
from retrieval.deadline import NO_DEADLINE
from retrieval.errors import BudgetTooSmall
from retrieval.packing import Format, TokenizerRegistry
from retrieval.scope import Scope

SECTION = "session"
_HEAD = "Current session:"
_SHARE = 0.5  # of the time that is left


@dataclass(frozen=True, slots=True)
class Joined:
    """A context with the session's section. ``text`` holds both in the text format, else long-term memory alone.

    ``tokens`` is the exact count of ``text``, and of the section's own text where that is not in it.
    """

    context: Context
    window: Window | None
    text: str
    tokens: int
    degraded: tuple[str, ...]


class Joint:
    """The use case. ``windows`` is ``None`` where the installation has no Redis."""

    def __init__(self, contexts: Contexts, windows: Windows | None, tokenizers: TokenizerRegistry) -> None:
        self._contexts = contexts
        self._windows = windows
        self._tokenizers = tokenizers

    async def __call__(self, scope: Scope, request: ContextRequest, session_id: str, session_tokens: int | None) -> Joined:
        """The session gets ``session_tokens``, and long-term memory what it leaves. Not given, it is half of the budget, or where
        its pinned messages need more, that and half of the rest.

        Without Redis, when none of its snapshots can be read, or when it takes more than half of the time, the section is
        missing and named in ``degraded``.
        Raises ``NotFound``, ``BudgetTooSmall`` and what a context raises.
        """
        request = self._contexts.begun(request)
        counter = self._tokenizers.counter(request.tokenizer)
        most = request.budget_tokens // 2 if session_tokens is None else min(session_tokens, request.budget_tokens)
        inside = request.format is Format.TEXT
        head = counter.count(f"\n\n{_HEAD}\n") if inside else 0
        try:
            window, room = await self._window(scope, session_id, most - head, request, head)
        except PinnedTooLarge as error:
            if session_tokens is not None:
                raise BudgetTooSmall("the session's pinned messages alone are larger than session_tokens") from error
            # Of what they leave, half again: the newest messages say what it is about.
            needed = error.needed + head
            most = min(needed + max(0, request.budget_tokens - needed) // 2, request.budget_tokens)
            window, room = await self._window(scope, session_id, most - head, request, head)
        while True:
            context = await self._contexts.pack(scope, replace(request, budget_tokens=room, shown=_shown(window)))
            text = _text(context, window) if inside else context.packed.text
            apart = 0 if inside or window is None else window.tokens
            tokens = apart + (counter.count(text) if inside and window is not None else context.packed.used_tokens)
            excess = tokens - request.budget_tokens
            if excess <= 0:
                break
            # Tokens of a whole can be more than those of its parts, by a few: memories give way, then the session.
            if room:
                room = max(0, room - excess)
            else:
                most -= excess
                window, room = await self._window(scope, session_id, most - head, request, head)
        degraded = context.degraded + ((SECTION,) if window is None else window.degraded)
        return Joined(context, window, text, tokens, degraded)

    async def _window(
        self, scope: Scope, session_id: str, budget: int, request: ContextRequest, head: int
    ) -> tuple[Window | None, int]:
        """The session's section, and what it leaves of the budget."""
        if self._windows is None:
            return None, request.budget_tokens
        deadline = request.recall.deadline or NO_DEADLINE
        try:
            async with asyncio.timeout(deadline.stage_s(share=_SHARE)):
                window = await self._windows(scope, session_id, budget=max(0, budget), tokenizer=request.tokenizer)
        except (StoreUnavailable, SnapshotCorrupt, TimeoutError):
            return None, request.budget_tokens
        spent = window.tokens + head if window.text else 0
        return window, max(0, request.budget_tokens - spent)


def _shown(window: Window | None) -> frozenset[str]:
    """What a commit made of the messages in the window: the model need not see it twice."""
    if window is None:
        return frozenset()
    return frozenset(external_id(window.session, one) for one in (*window.pinned, *window.messages))


def _text(context: Context, window: Window | None) -> str:
    if window is None or not window.text:
        return context.packed.text
    section = f"{_HEAD}\n{window.text}"
    return f"{context.packed.text}\n\n{section}" if context.packed.text else section
