"""The rolling summary of a session: its most central sentences, each with its speaker, time and position.

Messages are read in blocks of :data:`BLOCK`, in order, so the result depends on what was said and not on when the worker came
by. Of each block the sentences nearest to the block's mean embedding are kept, near-doubles aside; when there are too many
lines, the lines themselves are read in the same way. Since a line knows its position, a context of any budget takes only those
that its window does not show. Where a language model is configured it writes a text beside the lines; they stand when it fails,
and are what it goes on from when it answers again.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import numpy as np

from memoryd.errors import ChatRefused, ServiceError
from memoryd.memory.ports import Clock
from memoryd.sessions import ranges
from memoryd.sessions.commit import SPOKEN, speaker_of, text_of
from memoryd.sessions.model import Session, Stored
from memoryd.sessions.ports import MessageStore, ProgressStore, SummaryWriter, Target
from retrieval.filters import JsonValue
from retrieval.packing.sentences import split
from retrieval.ports import Embedder, Lane
from retrieval.scope import Scope
from retrieval.vectors import Vectors

log = logging.getLogger(__name__)

BLOCK = 8
_PER_BLOCK = 3
_MOST_LINES = 120
_KEPT_LINES = 60
_SENTENCES = 24  # of one message
_SHORTEST = 20  # characters: «ok» and «thank you!» say nothing about a session
_SAME = 0.92  # cosine above which two sentences say the same
_MODEL_TOKENS = 400
_TURN_CHARACTERS = 4_000  # of one message, for a language model: a block of the longest messages would fit no model's window
_BLOCKS_A_CALL = 16
# Whose text a language model fails on may be what it fails on; after so many tenants it is the model.
_FAILED_TENANTS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence. ``weight``: its cosine with the mean of what it was chosen from."""

    position: int
    speaker: str
    time: str
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the visible messages up to ``covers``; ``of`` is which these were, and ``incarnation`` of which session of that name
    (``""`` in those that were stored before it was kept). ``text`` is a language model's."""

    covers: int = 0
    of: str = ""
    lines: tuple[Line, ...] = ()
    text: str | None = None
    model_failed: bool = False
    incarnation: str = ""

    def dumped(self) -> str:
        """As it is stored."""
        lines = [[one.position, one.speaker, one.time, one.text, round(one.weight, 4)] for one in self.lines]
        found = {
            "covers": self.covers,
            "of": self.of,
            "lines": lines,
            "text": self.text,
            "failed": self.model_failed,
            "incarnation": self.incarnation,
        }
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    def holds(self, session: Session) -> bool:
        """Whether what it was made of is still what is visible up to there."""
        return self.is_of(session) and ranges.dump(ranges.closed(session.visible, self.covers)) == self.of

    def is_of(self, session: Session) -> bool:
        """Whether it is of this session, and not of one of that name which was deleted."""
        return self.incarnation in {"", session.incarnation}


def loaded(text: str | None) -> Summary:
    """From the stored form; an empty summary for ``None``."""
    if text is None:
        return Summary()
    found = json.loads(text)
    lines = tuple(Line(*one) for one in found["lines"])
    return Summary(found["covers"], found["of"], lines, found["text"], found["failed"], found.get("incarnation", ""))


class Summaries:
    """Brings summaries up to date, in the worker."""

    def __init__(
        self, messages: MessageStore, progress: ProgressStore, embedder: Embedder, writer: SummaryWriter | None, clock: Clock
    ) -> None:
        self._messages = messages
        self._progress = progress
        self._embedder = embedder
        self._writer = writer
        self._clock = clock
        self._failed: set[UUID] = set()

    def begin(self) -> None:
        """Ask the language model again, although it failed before: from a failure on it is left alone until then, by the tenant
        and after some of them by all."""
        self._failed.clear()

    async def __call__(self, scope: Scope, session_id: str) -> bool:
        """Read whole blocks that came since, and say whether these were all. Raises ``SessionGone``, ``InferenceError``."""
        target = Target(session_id, self._clock.now())
        summary = loaded(await self._progress.summary(scope, target))
        for _ in range(_BLOCKS_A_CALL):
            after = summary.covers
            page = await self._messages.read(scope, target, after=after, before=None, limit=BLOCK, newest=False, renew=False)
            if not summary.holds(page.session):
                summary = Summary()  # a restore changed what was said: begin again
                continue
            last = len(page.messages) < BLOCK
            if not last:
                summary = await self._extended(scope, summary, page.session, page.messages)
            if not await self._progress.summarise(scope, target, page.session, summary.dumped(), last=last):
                return False
            if last:
                return True
        return False

    async def _extended(self, scope: Scope, summary: Summary, session: Session, block: Sequence[Stored]) -> Summary:
        candidates = [line for message in block for line in _sentences(message)]
        lines = summary.lines + await self._central(scope, candidates, _PER_BLOCK)
        if len(lines) > _MOST_LINES:
            lines = await self._central(scope, lines, _KEPT_LINES)
        covers = block[-1].position
        of = ranges.dump(ranges.closed(session.visible, covers))
        # Without a text of the model, the lines are what there is of the time before this block.
        earlier = "\n".join(map(_told, summary.lines)) if summary.text is None else summary.text
        summary = Summary(covers, of, lines, incarnation=session.incarnation)
        if self._writer is None:
            return summary
        text = await self._written(self._writer, scope, earlier, block)
        # Without this block the model's text would be of something else than it says: the lines stand.
        return replace(summary, text=text, model_failed=text is None)

    async def _written(self, writer: SummaryWriter, scope: Scope, earlier: str, block: Sequence[Stored]) -> str | None:
        """The language model's text; ``None`` where it has none."""
        if scope.tenant_id in self._failed or len(self._failed) >= _FAILED_TENANTS:
            return None
        try:
            return await writer.write(earlier, [_turn(one.payload) for one in block], tokens=_MODEL_TOKENS)
        except ChatRefused as error:
            log.warning("the summary model refused a part of a session: %s", error)
        except ServiceError as error:
            log.warning("the summary model failed: %s", error.code)
            self._failed.add(scope.tenant_id)
        return None

    async def _central(self, scope: Scope, lines: Sequence[Line], most: int) -> tuple[Line, ...]:
        """The ``most`` lines nearest to the mean of all, in their order; of near-doubles the nearer one."""
        if len(lines) == 0:
            return ()
        texts = [line.text for line in lines]
        vectors = await self._embedder.embed_passages(texts, lane=Lane.BULK, owner=scope.tenant_id)
        return central(lines, np.asarray(vectors), most)


def central(lines: Sequence[Line], vectors: Vectors, most: int) -> tuple[Line, ...]:
    """``vectors`` of shape ``(len(lines), dimension)``, normalised."""
    mean = vectors.mean(axis=0)
    weights = vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-9))
    chosen: list[int] = []
    # Rounded, so that the last bits of a sum, which depend on the processor, decide nothing: earlier lines win ties.
    for number in sorted(range(len(lines)), key=lambda one: (-round(float(weights[one]), 4), one)):
        if len(chosen) == most:
            break
        if all(float(vectors[number] @ vectors[other]) < _SAME for other in chosen):
            chosen.append(number)
    return tuple(replace(lines[number], weight=float(weights[number])) for number in sorted(chosen))


def _turn(payload: Mapping[str, JsonValue]) -> dict[str, str]:
    """A message as a language model is told it: of a long one the beginning."""
    text = text_of(payload)
    cut = text if len(text) <= _TURN_CHARACTERS else text[:_TURN_CHARACTERS] + "…"
    return {"speaker": speaker_of(payload), "time": time_of(payload), "text": cut}


def _told(line: Line) -> str:
    return f"{line.time[:10]} {line.speaker}: {line.text}"


def _sentences(message: Stored) -> list[Line]:
    payload = message.payload
    if payload["role"] not in SPOKEN:
        return []
    text = text_of(payload)
    found = [text[span.start : span.end] for span in split(text)[:_SENTENCES]]
    speaker, time = speaker_of(payload), time_of(payload)
    return [Line(message.position, speaker, time, " ".join(one.split()), 0.0) for one in found if len(one) >= _SHORTEST]


def time_of(payload: Mapping[str, JsonValue]) -> str:
    """When it was said: the event's time, else when it was recorded."""
    return datetime.fromisoformat(str(payload.get("event_time") or payload["recorded_at"])).isoformat(timespec="minutes")
