"""Results as an agent sees them: within a token budget, fenced as data, and what does not fit left for ``expand``."""

import json
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import JsonValue

from memoryd.mcp.names import ChunkName, MemoryName, Named
from memoryd.memory.chunks import origin
from memoryd.memory.model import Revision
from memoryd.memory.ports import NOW, Moment
from retrieval.packing import Place
from retrieval.packing.fence import CLOSE, OPEN, label, quote
from retrieval.ports import TokenCounter
from retrieval.search import Hit

# Below so many tokens a part of a text says too little to be worth its line.
_LEAST = 48
# No tokenizer of ours makes a token of more characters than this of ordinary text; counting all of a long text would cost more.
_LONGEST_TOKEN = 8
_CHARS_A_TOKEN = 4
# For the sentences around the fence, and the keys around the hits.
_FRAME_TOKENS = 64
# What any entry may take, however many are behind it: its attributes alone are about 90 tokens as JSON.
_ROOM = 160
# And where each says about whom it is: that id, and its key.
_ROOM_WITH_SUBJECT = 224
_LONGEST_ID = 64
# Words that say something, roughly: the short ones are in every sentence.
_WORD = re.compile(r"\w{4,}")
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """The same twice: to read, and to compute with.

    Retrieved texts are fenced in ``text``. In ``structured`` they are values as they were stored, after a notice: what
    computes with them needs them so, and what gives the JSON to a model has strings that end where they end.
    """

    text: str
    structured: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Entry:
    """One memory or chunk to show. ``span`` is what matched of the text, ``score`` ``None`` where nothing was asked.

    ``name`` is what ``expand`` takes; ``origin`` the place in its document, of a chunk; ``subject`` the user that it is about.
    """

    name: Named
    space: str
    kind: str
    text: str
    span: tuple[int, int]
    moment: datetime
    speaker: str | None
    session_id: str | None
    subject: str | None
    score: float | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """The readable text, the same as structured data, and how many entries are in both."""

    text: str
    entries: list[JsonValue]
    cut: int

    @property
    def count(self) -> int:
        """How many entries fit."""
        return len(self.entries)


def of_hit(hit: Hit, space: str, at: Moment) -> Entry:
    """What a recall ``at`` that moment found. What was true or known at another time than now is a revision, whose head may
    say something else."""
    item = hit.item
    moment = item.event_time or item.recorded_at
    name: Named
    if item.citation is not None:
        name = ChunkName(item.citation.kb, str(item.citation.version), item.memory_id)
    else:
        name = MemoryName(item.memory_id) if at == NOW else MemoryName(item.memory_id, item.revision, at)
    return Entry(
        name=name,
        space=space,
        kind=item.kind,
        text=item.text,
        span=item.span,
        moment=moment,
        speaker=item.speaker,
        session_id=item.session_id,
        subject=item.user_id,
        score=round(hit.score, 4),
        origin=None if item.citation is None else ", ".join(label(part) for part in origin(item.citation)),
    )


def of_revision(revision: Revision, moment: datetime) -> Entry:
    """A memory of a timeline."""
    content = revision.content
    return Entry(
        name=MemoryName(revision.memory_id),
        space=revision.space,
        kind=content.kind,
        text=content.text,
        span=(0, 0),
        moment=moment,
        speaker=content.speaker,
        session_id=content.session_id,
        subject=content.user_id,
    )


def show(entries: Sequence[Entry], budget_tokens: int, counter: TokenCounter, query: str = "") -> Shown:
    """The first of ``entries`` that fit. A long text leaves half of the rest to those behind it: it is cut around the match,
    and within a long match to where the words of ``query`` are densest. Where they are about several users (those without
    one are about none of them), each says about whom it is, as in a context."""
    room = _ROOM_WITH_SUBJECT
    if len({entry.subject for entry in entries if not entry.origin}) < 2:
        room, entries = _ROOM, [replace(entry, subject=None) for entry in entries]
    words = frozenset(_WORD.findall(query.casefold()))
    left = budget_tokens - _FRAME_TOKENS
    lines: list[str] = []
    shown: list[JsonValue] = []
    cut = 0
    for number, entry in enumerate(entries, 1):
        behind = len(entries) - number
        found = _fitted(entry, number, max(left // 2, min(left, room)) if behind else left, counter, words)
        if found is None:
            break
        line, structured, tokens = found
        lines.append(line)
        shown.append(structured)
        cut += "truncated" in structured
        left -= tokens
    return Shown(f"{OPEN}{''.join(lines)}{CLOSE}" if lines else "", shown, cut)


def _fitted(
    entry: Entry, number: int, allowed: int, counter: TokenCounter, words: Set[str]
) -> tuple[str, dict[str, JsonValue], int] | None:
    """A line, the structured entry and the tokens of the longer of the two; ``None`` when not even a part fits."""
    most = len(entry.text)
    if most > allowed * _LONGEST_TOKEN:
        most = allowed * _CHARS_A_TOKEN
    while most > 0:
        start, end = _window(entry.text, entry.span, most, words)
        line, structured = _line(entry, number, start, end), _structured(entry, start, end)
        tokens = max(counter.count(line), counter.count(json.dumps(structured, ensure_ascii=False)))
        if tokens <= allowed:
            return line, structured, tokens
        if allowed < _LEAST:
            return None
        most = min(most - 1, int(most * min(0.9, allowed / tokens)))
    return None


def _line(entry: Entry, number: int, start: int, end: int) -> str:
    whose = f"user {label(entry.subject)}, " if entry.subject else ""
    who = f", {label(entry.speaker)}" if entry.speaker else ""
    about = entry.origin or f"{whose}{entry.kind}, {entry.moment:%Y-%m-%d}, space {entry.space}{who}"
    head = f"{number} id {_name(entry, start, end)} ({about})"
    before, after = "…" if start else "", "… [shortened: expand this id]" if end < len(entry.text) else ""
    return quote(f"{head}: {before}{entry.text[start:end]}{after}") + "\n"


def _name(entry: Entry, start: int, end: int) -> Named:
    """Of a text that is cut, with the middle of what is shown: there is more around it."""
    cut = end - start < len(entry.text)
    return replace(entry.name, place=Place((start + end) // 2, around=True)) if cut else entry.name


def _structured(entry: Entry, start: int, end: int) -> dict[str, JsonValue]:
    """Without what it does not have: an agent pays for every key."""
    structured: dict[str, JsonValue] = {
        "id": entry.name.id,
        "space": entry.space,
        "kind": entry.kind,
        "text": entry.text[start:end],
        "time": entry.moment.isoformat(timespec="seconds"),
    }
    if end - start < len(entry.text):
        structured["truncated"] = True
    if (name := str(_name(entry, start, end))) != entry.name.id:
        structured["handle"] = name
    if entry.origin:
        structured["source"] = entry.origin
    if entry.speaker:
        structured["speaker"] = label(entry.speaker)
    ids = {"user_id": entry.subject, "session_id": entry.session_id}
    structured |= {name: value for name, value in ids.items() if value and len(value) <= _LONGEST_ID}
    if entry.score is not None:
        structured["score"] = entry.score
    return structured


def _window(text: str, span: tuple[int, int], most: int, words: Set[str]) -> tuple[int, int]:
    """``most`` characters of ``text``: around ``span``, or of a longer one where most of ``words`` are."""
    if len(text) <= most:
        return 0, len(text)
    start, end = span
    longer = end - start > most
    first = _densest(text, span, most, words) if longer else max(0, start - (most - (end - start)) // 2)
    first = min(first, len(text) - most)
    return first, first + most


def _densest(text: str, span: tuple[int, int], most: int, words: Set[str]) -> int:
    """Where the ``most`` characters begin that hold the most different ``words``; the beginning of ``span`` without any."""
    found = [(one.start(), one.group().casefold()) for one in _WORD.finditer(text, *span)]
    found = [(at, word) for at, word in found if word in words][:_MOST_WORDS]
    best, begin = 0, span[0]
    for number, (at, _) in enumerate(found):
        held = len({word for position, word in found[number:] if position < at + most // 2})
        if held > best:
            best, begin = held, max(span[0], at - most // 4)
    return begin
