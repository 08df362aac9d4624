"""What each tool does: the use cases that REST calls, for agents."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import JsonValue

from memoryd.access.service import require
from memoryd.errors import InvalidRequest, NotFound
from memoryd.knowledge.model import LIVE
from memoryd.mcp.arguments import (
    Arguments,
    ContextArguments,
    ExpandArguments,
    ForgetArguments,
    RecallArguments,
    RememberArguments,
    SearchKnowledgeArguments,
    SessionArguments,
    TimelineArguments,
    fingerprint,
)
from memoryd.mcp.expansion import NOTHING, expand, packed, without_list
from memoryd.mcp.ports import Period, Position
from memoryd.mcp.sessions import session
from memoryd.mcp.shown import Answer, Entry, of_hit, of_revision, show
from memoryd.memory.context import ContextRequest
from memoryd.memory.model import Content, Draft, Idempotency
from memoryd.memory.ports import NOW, Moment
from memoryd.memory.recall import Recalled, RecallRequest
from memoryd.memory.sources import KnowledgeSource
from memoryd.services import Services
from memoryd.threads import QUICK
from retrieval.filters import Filters
from retrieval.packing import DEFAULT_TOKENIZER, Order
from retrieval.packing.fence import NOTICE
from retrieval.scope import Action, Scope
from retrieval.search import Arm

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Of a knowledge base; the budget decides how many are shown.
_CHUNKS = 10


async def recall(scope: Scope, use: Services, asked: RecallArguments) -> Answer:
    """Hits, best first; the later ones shortened, or left out, when the budget is small."""
    return await _shown(await use.recall(scope, _request(asked, asked.limit)), asked, use)


async def search_knowledge(scope: Scope, use: Services, asked: SearchKnowledgeArguments) -> Answer:
    """Chunks of one version of a knowledge base, best first, shortened and left out as memories are."""
    name, _, selector = asked.kb.partition("@")
    source = KnowledgeSource(name, selector or LIVE)
    request = RecallRequest(asked.query, None, Filters(), _CHUNKS, arms=(Arm.DENSE, Arm.LEXICAL), sources=(source,))
    return await _shown(await use.recall(scope, request), asked, use)


async def _shown(recalled: Recalled, asked: RecallArguments | SearchKnowledgeArguments, use: Services) -> Answer:
    at = _moment(asked)
    entries = [of_hit(hit, recalled.spaces[hit.item.space_id], at) for hit in recalled.result.hits]
    shown = await QUICK.run(show, entries, asked.budget_tokens, use.tokenizers.counter(), asked.query)
    omitted = len(entries) - shown.count
    degraded = list(dict.fromkeys(recalled.result.degraded))
    notes = [f"{omitted} more did not fit: ask with a larger budget_tokens."] if omitted else []
    notes += [f"Incomplete, for these did not answer: {', '.join(degraded)}."] if degraded else []
    structured: dict[str, JsonValue] = {
        "notice": NOTICE,
        "hits": shown.entries,
        "omitted": omitted,
        "degraded": list[JsonValue](degraded),
    }
    return Answer("\n".join([shown.text or NOTHING, *notes]), structured)


def _moment(asked: RecallArguments | SearchKnowledgeArguments) -> Moment:
    return NOW if isinstance(asked, SearchKnowledgeArguments) else Moment(asked.as_of, asked.known_at)


async def context(scope: Scope, use: Services, asked: ContextArguments) -> Answer:
    """Memories packed into the budget."""
    request = ContextRequest(
        recall=_request(asked, 50),
        budget_tokens=without_list(asked.budget_tokens),
        tokenizer=DEFAULT_TOKENIZER,
        order=Order.BEST_FIRST,
    )
    return await packed(scope, use, await use.contexts.pack(scope, request), asked.budget_tokens)


async def remember(scope: Scope, use: Services, told: RememberArguments) -> Answer:
    """Store one memory. The same said again is recognised by what it says, or by the caller's key."""
    content = Content(
        kind=told.kind,
        text=told.text,
        speaker=None,
        role=None,
        user_id=told.user_id,
        agent_id=told.agent_id,
        session_id=told.session_id,
        event_time=told.event_time,
        valid_from=None,
        valid_to=None,
        source_type="conversation",
        source_uri=None,
        confidence=1.0,
        topics=tuple(dict.fromkeys(told.topics)),
        metadata={},
        supersedes=told.supersedes,
    )
    once = None if told.idempotency_key is None else Idempotency(told.idempotency_key, fingerprint("remember", told))
    (written,) = await use.remember(scope, [Draft(told.space, None, content)], once)
    known = " (known already)" if written.outcome == "duplicate" else ""
    return Answer(f"Remembered as {written.memory_id}{known}.", {"id": str(written.memory_id), "status": str(written.outcome)})


async def forget(scope: Scope, use: Services, asked: ForgetArguments) -> Answer:
    """Forget one memory. A repeated call is answered like the first."""
    # What is purged never comes back, so that its key may be derived; what is only deleted may, and be deleted again.
    once = Idempotency(f"mcp-purge-{asked.id}", fingerprint("purge", asked)) if asked.purge else None
    try:
        await use.revise.delete(scope, asked.id, purge=asked.purge, reason=asked.reason, if_match=None, idempotency=once)
    except NotFound:
        if asked.purge or not await _deleted(scope, use, asked.id):
            raise
    done = "purged" if asked.purge else "forgotten"
    return Answer(f"Memory {asked.id} is {done}.", {"id": str(asked.id), "status": done})


async def timeline(scope: Scope, use: Services, asked: TimelineArguments) -> Answer:
    """Memories in order of time, a page at a time; what does not fit the budget begins the next page."""
    require(scope, Action.READ)
    spaces = await use.spaces.readable(scope, None if asked.spaces is None else list(dict.fromkeys(asked.spaces)))
    moments = await use.chronicle.moments(
        scope,
        [space.space_id for space in spaces.values()],
        Filters(user_id=asked.user_id, agent_id=asked.agent_id, session_id=asked.session_id, kinds=tuple(asked.kinds or ())),
        Period(asked.after, asked.before),
        behind=None if asked.cursor is None else _position(asked.cursor),
        newest_first=asked.order == "newest",
        limit=asked.limit + 1,
    )
    page = moments[: asked.limit]
    entries: list[Entry] = [of_revision(one.revision, one.position.occurred_at) for one in page]
    shown = await QUICK.run(show, entries, asked.budget_tokens, use.tokenizers.counter())
    if page and not shown.count:
        raise InvalidRequest("budget_tokens: too small for the next memory")
    cursor = _cursor(page[shown.count - 1].position) if shown.count < len(moments) else None
    notes = [f"There is more: go on with cursor {cursor}"] if cursor else []
    return Answer(
        "\n".join([shown.text or NOTHING, *notes]), {"notice": NOTICE, "memories": shown.entries, "next_cursor": cursor}
    )


def _request(asked: RecallArguments | ContextArguments, limit: int) -> RecallRequest:
    filters = Filters(
        user_id=asked.user_id,
        agent_id=asked.agent_id,
        session_id=asked.session_id,
        kinds=tuple(asked.kinds or ()),
        event_after=asked.after,
        event_before=asked.before,
        as_of=asked.as_of,
        known_at=asked.known_at,
    )
    return RecallRequest(asked.query, None if asked.spaces is None else tuple(asked.spaces), filters, limit)


async def _deleted(scope: Scope, use: Services, memory_id: UUID) -> bool:
    """Whether it is one of the caller's, and forgotten already."""
    history = await use.reader.history(scope, memory_id, before=None, limit=1)
    return bool(history) and history[0].deleted_at is not None


def _cursor(position: Position) -> str:
    micros = (position.occurred_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{micros}:{position.seq}".encode()).rstrip(b"=").decode()


def _position(cursor: str) -> Position:
    refused = InvalidRequest("cursor: not one that this tool gave out")
    try:
        micros, _, seq = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode("ascii").partition(":")
        position = Position(_EPOCH + timedelta(microseconds=int(micros)), int(seq))
    except (binascii.Error, UnicodeError, ValueError, OverflowError) as error:
        raise refused from error
    if not 0 <= position.seq < 2**63:
        raise refused
    return position


async def call(scope: Scope, use: Services, arguments: Arguments, once: str | None) -> Answer:
    """The tool that takes these arguments. ``once``: the key of what carries the call. Raises what its use case raises."""
    match arguments:
        case SearchKnowledgeArguments():
            return await search_knowledge(scope, use, arguments)
        case RecallArguments():
            return await recall(scope, use, arguments)
        case ContextArguments():
            return await context(scope, use, arguments)
        case RememberArguments():
            return await remember(scope, use, arguments)
        case ForgetArguments():
            return await forget(scope, use, arguments)
        case ExpandArguments():
            return await expand(scope, use, arguments)
        case TimelineArguments():
            return await timeline(scope, use, arguments)
        case SessionArguments():
            return await session(scope, use, arguments, once)
    raise AssertionError  # the catalogue has no others
