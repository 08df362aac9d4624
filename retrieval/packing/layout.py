"""How the shown items are written down, and what each line costs.

Every piece ends with a line feed and the next begins with a character that no supported tokenizer joins to one, so
the cost of a layout is the sum of its lines' costs; :mod:`retrieval.packing.pack` still counts the finished string.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from retrieval.packing.fence import CLOSE, NOTICE, OPEN, label, passages, quote
from retrieval.packing.model import Candidate, Format, Message, Order, Rendition, Span

# What a chat template spends on one message's role and delimiters (OpenAI's cookbook: 3 and the role's name).
MESSAGE_TOKENS = 4
POINTER_CHARS = 32
LOW_CONFIDENCE = 0.5

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# A time that is already written before the text, as in "[1:56 pm on 8 May, 2023] …".
_LEAD = re.compile(r"\[(?=[^\]]*\d)[^\[\]\n]{6,40}\]\s+")
_LEAD_WORDS = re.compile(r"[^\W\d_]+|\d+")
# What may stand beside the date in a written-out time without saying anything else.
_CLOCK_WORDS = frozenset(("on", "at", "am", "pm", "a", "p", "m", "of", "th", "st", "nd", "rd", "t", "z", "utc", "gmt"))
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ORDINARY_SOURCES = frozenset((None, "", "conversation"))
_JSON_OPEN = f'{{"notice":"{NOTICE}","items":[\n'
_JSON_CLOSE = "]}"

GroupKey = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One candidate at one rendition; ``rank`` is its place by relevance, from 1."""

    candidate: Candidate
    rank: int
    rendition: Rendition
    spans: tuple[Span, ...]


def body_start(candidate: Candidate, *, structured: bool) -> int:
    """Where the text proper begins: after a written-out time (the header has it) and the speaker's own name."""
    start = 0
    if not structured and not candidate.origin and (lead := _LEAD.match(candidate.text)):
        start = lead.end()
    if candidate.speaker and candidate.text.startswith(f"{candidate.speaker}:", start):
        start += len(candidate.speaker) + 1
    return start


def when(moment: datetime) -> str:
    """The day, in words that no locale reads the other way round."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def says_no_more(lead: str, moment: datetime) -> bool:
    """True when a written-out time names the day of ``moment`` and besides it only a weekday and a time of day."""
    found = [word.lower() for word in _LEAD_WORDS.findall(lead)]
    numbers = [int(word) for word in found if word.isdecimal()]
    day, year = moment.day, moment.year
    if moment.date().isoformat() in lead:
        numbers.remove(moment.month)
    elif not any(len(word) >= len("may") and _MONTHS[moment.month - 1].lower().startswith(word) for word in found):
        return False
    if day not in numbers or year not in numbers:
        return False
    numbers.remove(day)
    numbers.remove(year)
    ordinary = (*_WEEKDAYS, _MONTHS[moment.month - 1].lower())
    words = (word for word in found if not word.isdecimal() and word not in _CLOCK_WORDS)
    return all(number < 60 for number in numbers) and all(any(name.startswith(word) for name in ordinary) for word in words)


class Layout:
    """Writes text (and messages): items under one header for each session, day and source, and for each subject if named."""

    structured = False
    # Tokens by which the finished string may exceed the sum of its pieces.
    slack = 0

    def __init__(self, *, sections: bool, subjects: bool, messages: bool = False) -> None:
        self._sections = sections
        self._subjects = subjects
        self.open = OPEN
        self.close = CLOSE
        self.extra_tokens = 2 * MESSAGE_TOKENS if messages else 0
        self._messages = messages
        self._dates: dict[tuple[str, datetime | None], str] = {}

    def group(self, candidate: Candidate) -> GroupKey:
        """Candidates of one group share a header and stand together."""
        return (candidate.subject or "", candidate.session_id or "", self.header(candidate))

    def header(self, candidate: Candidate) -> str:
        """The line above a group: about whom, when, from where, and how far to trust it where that is not the ordinary.

        A time written before the text gives way to the day alone when it is the event's: a header costs half as much.
        """
        parts = list(candidate.origin) or [self._date(candidate)]
        if self._subjects and candidate.subject:
            parts.insert(0, f"user {candidate.subject}")
        if self._sections and candidate.section:
            parts.insert(0, candidate.section)
        if not candidate.origin:
            parts += _source(candidate)
        if candidate.trust:
            parts.append(candidate.trust)
        if candidate.confidence < LOW_CONFIDENCE:
            parts.append("low confidence")
        return quote(f"# {', '.join(label(part) for part in parts)}") + "\n"

    def _date(self, candidate: Candidate) -> str:
        found = _LEAD.match(candidate.text)
        lead, moment = found.group().strip() if found else "", candidate.event_time
        if (lead, moment) not in self._dates:
            day = when(moment) if moment else "undated"
            self._dates[lead, moment] = lead if lead and not (moment and says_no_more(lead, moment)) else day
        return self._dates[lead, moment]

    def line(self, shown: Shown, number: int) -> str:
        """One item: its citation number, the speaker and the text, or for a pointer the first words in brackets."""
        candidate = shown.candidate
        who = f" {label(candidate.speaker)}:" if candidate.speaker else ""
        return quote(f"{number}{who} {_content(shown, structured=False)}") + "\n"

    def finish(self, lines: Sequence[str]) -> str:
        return f"{self.open}{''.join(lines)}{self.close}"

    def messages(self, text: str) -> tuple[Message, ...]:
        """The notice as the system's word, the fenced data as the user's; their contents joined are ``text``."""
        if not self._messages or not text:
            return ()
        notice, fenced = text.split("\n", 1)
        return (Message(role="system", content=notice), Message(role="user", content=fenced))


def _source(candidate: Candidate) -> Iterator[str]:
    if candidate.source_type not in _ORDINARY_SOURCES:
        yield candidate.source_type or ""
    if candidate.source_uri:
        yield candidate.source_uri


class JsonLayout(Layout):
    """Writes one JSON document, an object a line; attributes that say nothing are left out."""

    structured = True
    slack = 1  # the last object's end, which has no comma

    def __init__(self, *, subjects: bool) -> None:
        super().__init__(sections=True, subjects=subjects)
        self.open = _JSON_OPEN
        self.close = _JSON_CLOSE

    def header(self, candidate: Candidate) -> str:
        return ""

    def group(self, candidate: Candidate) -> GroupKey:
        return (candidate.subject or "", candidate.session_id) if candidate.session_id else ("", "", candidate.id)

    def line(self, shown: Shown, number: int) -> str:
        candidate = shown.candidate
        fields: dict[str, str | int | float] = {"n": number}
        if candidate.event_time:
            fields["when"] = candidate.event_time.date().isoformat()
        named = {
            "user_id": candidate.subject if self._subjects else None,
            "who": candidate.speaker,
            "section": candidate.section,
            "source": None if candidate.source_type in _ORDINARY_SOURCES else candidate.source_type,
            "uri": candidate.source_uri,
            "trust": candidate.trust,
        }
        fields.update((name, label(value)) for name, value in named.items() if value)
        if candidate.origin:
            fields["source"] = ", ".join(label(part) for part in candidate.origin)
        if candidate.confidence < 1.0:
            fields["confidence"] = round(candidate.confidence, 2)
        if shown.rendition is not Rendition.FULL:
            fields["shown"] = shown.rendition.value
        fields["text"] = _content(shown, structured=True)
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + ",\n"

    def finish(self, lines: Sequence[str]) -> str:
        return f"{self.open}{''.join(lines).removesuffix(chr(44) + chr(10))}\n{self.close}"


def layout_for(form: Format, *, sections: bool, subjects: bool) -> Layout:
    """The layout of a format; ``sections`` puts section names into the headers, ``subjects`` whom the items are about."""
    if form is Format.JSON:
        return JsonLayout(subjects=subjects)
    return Layout(sections=sections, subjects=subjects, messages=form is Format.MESSAGES)


def arranged(shown: Sequence[Shown], layout: Layout, order: Order) -> list[list[Shown]]:
    """The groups in the order of the request; inside a group, items by time, then position, then rank."""
    groups: dict[GroupKey, list[Shown]] = {}
    for each in sorted(shown, key=lambda item: item.rank):
        groups.setdefault(layout.group(each.candidate), []).append(each)
    best_first = [sorted(group, key=_place) for group in groups.values()]
    if order is Order.CHRONOLOGICAL:
        return sorted(best_first, key=lambda group: _place(group[0]))
    if order is Order.EDGES:
        # Models read the two ends best (Liu et al. 2023, "Lost in the middle"): best first, second best last, …
        return best_first[0::2] + best_first[1::2][::-1]
    return best_first


def _place(shown: Shown) -> tuple[bool, float, bool, int, int]:
    """When it was said (undated turns come last): positions are of the order of arrival, and a chat may arrive newest first."""
    position = shown.candidate.position
    return (*_time(shown), position is None, position or 0, shown.rank)


def _time(shown: Shown) -> tuple[bool, float]:
    moment = shown.candidate.event_time
    if moment is None:
        return (True, 0.0)
    return (False, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _content(shown: Shown, *, structured: bool) -> str:
    candidate = shown.candidate
    start = body_start(candidate, structured=structured)
    body = candidate.text[start:]
    if shown.rendition is Rendition.POINTER:
        words = " ".join(body[: 4 * POINTER_CHARS].split())
        if len(words) > POINTER_CHARS:
            words = words[:POINTER_CHARS].rsplit(" ", 1)[0]
        return f"[{words} …]"
    whole = Span(start + len(body) - len(body.lstrip()), start + len(body.rstrip()))
    return passages(candidate.text, shown.spans, whole)
