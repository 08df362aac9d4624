"""The context of a session within a token budget: pinned messages, a summary of what fell out, the newest messages.

A message that calls tools and the results of its calls are one unit, shown whole or not at all (:mod:`memoryd.sessions.units`).
Units go by their newest message, and the window ends at the first that does not fit; of a newest one that is larger than the
budget the beginnings are shown (:mod:`memoryd.sessions.beginnings`). Where a result came late, its call is older than messages
that are not shown: the summary and ``omitted`` are of all that is not shown, wherever it lies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from memoryd.access.service import require
from memoryd.sessions import ranges
from memoryd.sessions.beginnings import beginnings
from memoryd.sessions.model import Page, Session, Stored
from memoryd.sessions.ports import MessageStore, Target
from memoryd.sessions.rendering import rendered
from memoryd.sessions.summary import Line, Summary, loaded
from memoryd.sessions.units import Group, Reader, answers, groups, whole
from memoryd.sessions.working import Finder
from memoryd.threads import QUICK
from retrieval.errors import BudgetTooSmall
from retrieval.packing import TokenizerRegistry
from retrieval.packing.lines import Counts, LineCounter
from retrieval.scope import Action, Scope

_SUMMARY_SHARE = 4  # a quarter of the budget at most
_SUMMARY_HEAD = "Earlier in this session:"
_MISSES = 5  # lines that do not fit before no further one is tried
_PAGE = 200
# Guesses at how many messages fit, and how large they are as JSON; when more do, more are read.
_TOKENS_A_MESSAGE = 32
_BYTES_A_TOKEN = 8
_LEAST_BYTES = 2_048
_PAGES = 50
# And so many more for the calls of results that the window could show: those of some may not be there at all.
_PAGES_FOR_CALLS = 4
_STEP = 50  # messages read at once in search of a result's call, which mostly is the one before
# So much is packed on the event loop, a few milliseconds at the very worst; more in a thread, and going there costs too.
_INLINE_BYTES = 24_000


class PinnedTooLarge(BudgetTooSmall):
    """The pinned messages alone are larger than the budget: they take ``needed`` tokens."""

    def __init__(self, needed: int) -> None:
        super().__init__("the pinned messages alone are larger than budget_tokens")
        self.needed = needed


@dataclass(slots=True)
class Costs:
    """What messages look like and cost, each looked at only when asked for: most of a long session never is."""

    counter: LineCounter
    _texts: dict[int, str] = field(default_factory=dict)
    _known: dict[int, int] = field(default_factory=dict)

    def __call__(self, unit: Group) -> int:
        """The tokens that the messages of a unit are expected to cost."""
        key = unit[0].position
        if key not in self._known:
            self._known[key] = sum(self.counter.block(self.text(one)) for one in unit)
        return self._known[key]

    def text(self, message: Stored) -> str:
        """The message as :func:`rendered`."""
        if message.position not in self._texts:
            self._texts[message.position] = rendered(message)
        return self._texts[message.position]


@dataclass(frozen=True, slots=True)
class Shown:
    """What of the summary is shown."""

    text: str
    lines: tuple[Line, ...]
    by_model: bool
    covers: int


@dataclass(frozen=True, slots=True)
class Window:
    """A context. ``tokens`` is the exact count of ``text``; ``cut`` are the positions of messages of which ``messages`` and
    ``text`` have the beginning alone."""

    text: str
    tokens: int
    tokenizer: str
    pinned: tuple[Stored, ...]
    messages: tuple[Stored, ...]
    cut: tuple[int, ...]
    summary: Shown | None
    summary_tokens: int
    omitted: int
    degraded: tuple[str, ...]
    session: Session


class Windows:
    """The use case of ``GET /v1/sessions/{id}/context``."""

    def __init__(self, finder: Finder, messages: MessageStore, tokenizers: TokenizerRegistry) -> None:
        self._find = finder
        self._messages = messages
        self._tokenizers = tokenizers
        self._counts = Counts()

    async def __call__(self, scope: Scope, session_id: str, *, budget: int, tokenizer: str) -> Window:
        """Raises ``NotFound``, ``PinnedTooLarge`` when the pinned messages alone do not fit, ``UnknownTokenizer``."""
        require(scope, Action.READ)
        counter = LineCounter(self._tokenizers.counter(tokenizer), self._counts)
        return await self._find(scope, session_id, lambda target: self._read(scope, target, counter, budget))

    async def _read(self, scope: Scope, target: Target, counter: LineCounter, budget: int) -> Window:
        limit = min(_PAGE, max(16, budget // _TOKENS_A_MESSAGE))
        end = await self._messages.end(scope, target, limit=limit, size=_LEAST_BYTES + _BYTES_A_TOKEN * budget)
        page, summary, costs = end.page, loaded(end.summary), Costs(counter)
        pinned = await self._units(scope, target, page, end.pinned)
        if not summary.holds(page.session):
            summary = _left(summary, page.session)
        inline = end.size <= _INLINE_BYTES
        sought = 0
        for _ in range(_PAGES):
            if inline:
                window, enough = _packed(page, pinned, summary, costs, budget)
            else:
                window, enough = await QUICK.run(_packed, page, pinned, summary, costs, budget)
            # Of a full page, only what is as new as the window could come into it with its call.
            since = window.messages[0].position if window.messages and len(page.messages) >= limit else 0
            if not page.more or (enough and (sought == _PAGES_FOR_CALLS or not _orphaned(page.messages, since))):
                break
            sought += enough
            inline = False
            page = await self._with_older(scope, target, page, limit)
        return window

    async def _with_older(self, scope: Scope, target: Target, page: Page, limit: int) -> Page:
        """The page with as many messages before it as it has, ``limit`` at least."""
        before, more = page.messages[0].position, min(_PAGE, max(limit, len(page.messages)))
        older = await self._messages.read(scope, target, after=0, before=before, limit=more, newest=True, renew=False)
        return Page(page.session, older.messages + page.messages, older.more)

    async def _units(self, scope: Scope, target: Target, page: Page, pinned: Sequence[Stored]) -> list[Group]:
        """The units that pinned messages are in."""

        async def before(position: int) -> Page:
            return await self._messages.read(scope, target, after=0, before=position, limit=_STEP, newest=True, renew=False)

        async def after(position: int) -> Page:
            newer = page.messages[0].position
            return await self._messages.read(scope, target, after=position, before=newer, limit=_PAGE, newest=False, renew=False)

        return await whole(Reader(before, after), page.messages, pinned) if pinned else []


def _orphaned(messages: Sequence[Stored], since: int) -> bool:
    """Whether there are results, from a position on, whose calls may lie before these messages."""
    together = {one.position for unit in groups(messages) for one in unit}
    return any(one.position >= since and answers(one) is not None and one.position not in together for one in messages)


def _left(summary: Summary, session: Session) -> Summary:
    """Of a summary that a restore has overtaken: the lines of what is visible still, until the worker makes it anew."""
    if not summary.is_of(session):
        return Summary()
    lines = tuple(line for line in summary.lines if ranges.contains(session.visible, line.position))
    return replace(summary, lines=lines, text=None, covers=lines[-1].position if lines else 0)


def _positions(found: Iterable[Group]) -> set[int]:
    return {message.position for unit in found for message in unit}


def _packed(page: Page, kept: Sequence[Group], summary: Summary, costs: Costs, budget: int) -> tuple[Window, bool]:
    """The context of these messages and the units that are kept in any case, and whether older messages could change it."""
    known = _positions(kept)
    apart = [group for group in groups(page.messages) if known.isdisjoint(one.position for one in group)]
    others = sorted(apart, key=lambda unit: unit[-1].position)
    room = budget - sum(map(costs, kept))
    if room < 0:
        # The tokens of the whole too, where these are more than those of its parts.
        raise PinnedTooLarge(max(budget - room, _assembled(page, kept, [], None, costs, summary).tokens))
    chosen = _newest(others, room, costs)
    fits = len(chosen) == len(others)
    if fits and page.more:
        return _assembled(page, kept, chosen, None, costs, summary), False
    shown = None
    if not fits:
        # The newest goes before it, where that fits at all.
        newest = costs(others[-1])
        share = min(room - newest if newest <= room else room, budget // _SUMMARY_SHARE)
        chosen = _newest(others, room - share, costs)
        shown = _summary(summary, known | _positions(chosen), costs.counter, share)
        # What the summary left of its share goes to the window; lines of what the window now shows are dropped.
        spent = costs.counter.block(shown.text) if shown else 0
        chosen = _newest(others, room - spent, costs)
        shown = _outside(shown, _positions(chosen))
    window = _assembled(page, kept, chosen, shown, costs, summary)
    while window.tokens > budget:
        # Tokens of a whole can be more than those of its parts, by a few: the oldest go, the newest last.
        if shown is not None and len(chosen) <= 1:
            shown = None
        elif chosen:
            chosen = chosen[1:]
        else:
            raise PinnedTooLarge(window.tokens)
        window = _assembled(page, kept, chosen, shown, costs, summary)
    begun = _begun(page, kept, others[-1], costs, summary, budget) if others and not chosen else None
    return begun or window, True


def _begun(page: Page, kept: Sequence[Group], newest: Group, costs: Costs, summary: Summary, budget: int) -> Window | None:
    """Where no whole unit fits: beginnings of the newest, beside a summary that leaves it half of the room, if it has any."""
    room = budget - sum(map(costs, kept))
    known = _positions(kept) | _positions([newest])
    shown = _summary(summary, known, costs.counter, min(room // 2, budget // _SUMMARY_SHARE))
    left = room - (costs.counter.block(shown.text) if shown else 0)
    while unit := beginnings(newest, left, costs.counter):
        window = _assembled(page, kept, [unit], shown, Costs(costs.counter), summary)
        if window.tokens <= budget:
            cut = tuple(now.position for now, was in zip(unit, newest, strict=True) if now is not was)
            return replace(window, cut=cut)
        left -= window.tokens - budget
    return None


def _newest(others: Sequence[Group], room: int, costs: Costs) -> list[Group]:
    """The longest end of ``others`` that fits."""
    start = len(others)
    while start and costs(others[start - 1]) <= room:
        start -= 1
        room -= costs(others[start])
    return list(others[start:])


def _summary(summary: Summary, known: set[int], counter: LineCounter, room: int) -> Shown | None:
    """What fits of the summary of what is not ``known``: the model's text, or the weightiest lines."""
    if summary.text is not None:
        text = f"{_SUMMARY_HEAD}\n{summary.text}"
        if counter.block(text) <= room:
            return Shown(text, summary.lines, True, summary.covers)
    left = room - counter.block(_SUMMARY_HEAD)
    taken: list[Line] = []
    misses = 0
    for line in sorted(summary.lines, key=lambda one: (-one.weight, one.position)):
        if line.position in known:
            continue
        cost = counter.block(_line(line))
        if cost <= left:
            taken.append(line)
            left -= cost
        elif (misses := misses + 1) == _MISSES:
            break
    return _of_lines(sorted(taken, key=lambda one: one.position), summary.covers)


def _outside(shown: Shown | None, known: set[int]) -> Shown | None:
    """The same without lines of what a larger window shows. A model's text cannot be divided, and stays."""
    if shown is None or shown.by_model:
        return shown
    return _of_lines([line for line in shown.lines if line.position not in known], shown.covers)


def _of_lines(lines: Sequence[Line], covers: int) -> Shown | None:
    text = "\n".join([_SUMMARY_HEAD, *map(_line, lines)])
    return Shown(text, tuple(lines), False, covers) if lines else None


def _line(line: Line) -> str:
    return f"- {line.time[:10]} {line.speaker}: {line.text}"


def _assembled(
    page: Page, kept: Sequence[Group], chosen: Sequence[Group], shown: Shown | None, costs: Costs, summary: Summary
) -> Window:
    pinned = tuple(sorted((one for unit in kept for one in unit), key=lambda one: one.position))
    messages = tuple(sorted((one for unit in chosen for one in unit), key=lambda one: one.position))
    blocks = [*map(costs.text, pinned), *([shown.text] if shown else []), *map(costs.text, messages)]
    return Window(
        text="\n".join(blocks),
        tokens=costs.counter.joined(blocks),
        tokenizer=costs.counter.name,
        pinned=pinned,
        messages=messages,
        cut=(),
        summary=shown,
        summary_tokens=costs.counter.count(shown.text) if shown else 0,
        omitted=_omitted(page, {one.position for one in (*pinned, *messages)}, shown.covers if shown else 0),
        degraded=("summary_model",) if summary.model_failed and shown is not None else (),
        session=page.session,
    )


def _omitted(page: Page, shown: set[int], covered: int) -> int:
    """How many visible messages are neither shown nor among the first ``covered`` positions, which a summary tells of."""
    here = sum(one.position > covered and one.position not in shown for one in page.messages)
    if not page.more:
        return here
    older = ranges.closed(page.session.visible, page.messages[0].position - 1)
    told = ranges.union(ranges.of(shown), (ranges.Span(1, covered),) if covered else ())
    return here + sum((span.last or 0) - span.first + 1 for span in ranges.minus(older, told))
