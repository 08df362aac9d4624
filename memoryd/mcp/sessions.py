"""What the tool ``session`` does: a task's working memory, by the use cases that REST calls."""

from collections.abc import Sequence

from pydantic import JsonValue

from memoryd.http.schemas.sessions import AppendIn
from memoryd.http.session_views import new_messages
from memoryd.mcp.arguments import SESSION, SessionArguments, fingerprint
from memoryd.mcp.shown import Answer
from memoryd.memory.model import Idempotency
from memoryd.services import Services
from memoryd.sessions.model import Birth, Checkpoint, CheckpointWish, Restored
from memoryd.sessions.rendering import rendered
from memoryd.sessions.services import SessionServices
from memoryd.sessions.window import Window
from memoryd.threads import QUICK
from retrieval.errors import BudgetTooSmall
from retrieval.packing import DEFAULT_TOKENIZER
from retrieval.packing.fence import CLOSE, OPEN, label, quote
from retrieval.ports import TokenCounter
from retrieval.scope import Scope

# Kept of a budget for the sentences around the fence, and for the list of checkpoints.
_FRAME_TOKENS = 64
_LIST_SHARE = 0.15
# Of the checkpoints, the newest.
_LISTED = 5
# Quoting adds a space a line: what is too long then is packed anew, smaller by that much.
_TRIES = 10


async def session(scope: Scope, use: Services, asked: SessionArguments, carried: str | None) -> Answer:
    """One action. ``carried``: the key of what carries the call. Raises what its use case raises."""
    memory = use.working_memory
    match asked.action:
        case "append":
            return await _append(scope, memory, asked, carried)
        case "read":
            return await _read(scope, use, memory, asked)
        case "checkpoint":
            return await _checkpoint(scope, memory, asked)
        case "restore":
            return await _restore(scope, memory, asked)


async def _append(scope: Scope, memory: SessionServices, asked: SessionArguments, carried: str | None) -> Answer:
    """All messages or none; what was appended before is not appended again."""
    body = AppendIn(messages=asked.messages or [], space=asked.space, user_id=asked.user_id, agent_id=asked.agent_id)
    messages, birth = new_messages(body, memory.clock.now()), Birth(asked.space, asked.user_id, asked.agent_id)
    once = _once(asked)
    if once is None:
        done = await memory.repeats.append(scope, asked.session_id, messages, birth, carried)
    else:
        done = await memory.working.append(scope, asked.session_id, messages, birth, once)
    created = sum(one.created for one in done.placed)
    known = len(done.placed) - created
    said = [f"Appended {created} to session {label(asked.session_id)}{f', {known} known already' if known else ''}."]
    structured: dict[str, JsonValue] = {"appended": created, "known": known, "head": done.head}
    return _answer(said, structured, done.restored_from)


async def _read(scope: Scope, use: Services, memory: SessionServices, asked: SessionArguments) -> Answer:
    """What a model should see of it, within the budget: pinned messages, a summary, the newest; and where to go back to."""
    counter, budget = use.tokenizers.counter(), asked.budget_tokens
    kept = _listed(await memory.working.checkpoints(scope, asked.session_id), int(budget * _LIST_SHARE), counter)
    room = budget - _FRAME_TOKENS - sum(counter.count(f"{_line(one)}\n") for one in kept)
    for _ in range(_TRIES):
        window = await memory.windows(scope, asked.session_id, budget=max(0, room), tokenizer=DEFAULT_TOKENIZER)
        answer = _of_window(window, kept)
        excess = await QUICK.run(counter.count, answer.text) - budget
        if excess <= 0:
            return answer
        room = min(room, window.tokens) - excess  # of a room that was not filled, less would change nothing
    raise BudgetTooSmall("the newest messages do not fit")


def _listed(kept: Sequence[Checkpoint], budget: int, counter: TokenCounter) -> list[Checkpoint]:
    """The newest few that fit, newest first."""
    listed: list[Checkpoint] = []
    for one in reversed(kept[-_LISTED:]):
        budget -= counter.count(f"{_line(one)}\n")
        if budget < 0:
            break
        listed.append(one)
    return listed


def _of_window(window: Window, kept: Sequence[Checkpoint]) -> Answer:
    """Each message begins a line; what it says cannot begin another."""
    blocks = [*map(rendered, window.pinned), *([window.summary.text] if window.summary else []), *map(rendered, window.messages)]
    lines = [*map(quote, blocks), *map(_line, kept)]
    packed = "\n".join([OPEN + lines[0], *lines[1:], CLOSE]) if lines else ""
    said = [packed or "Nothing was said yet."]
    if window.cut:
        said.append("What was said last is larger than budget_tokens: its beginning is shown, up to each …")
    if window.omitted:
        said.append(f"{window.omitted} earlier messages are not shown: ask with a larger budget_tokens.")
    if window.degraded:
        said.append(f"Incomplete, for these did not answer: {', '.join(window.degraded)}.")
    structured: dict[str, JsonValue] = {
        "text": packed,
        "head": window.session.head,
        "omitted": window.omitted,
        "checkpoints": [_checkpoint_json(one) for one in kept],
        "degraded": list[JsonValue](window.degraded),
    }
    return _answer(said, structured, window.session.restored_from)


def _line(one: Checkpoint) -> str:
    """A checkpoint, as it may stand inside the fence."""
    about = [f"step {one.step}"] if one.step is not None else []
    about += ["before a restore"] if one.automatic else []
    about += [label(one.label)] if one.label else []
    return quote(f"checkpoint {one.checkpoint_id} (message {', '.join([str(one.head), *about])})")


def _checkpoint_json(one: Checkpoint) -> dict[str, JsonValue]:
    """Without what it does not have: an agent pays for every key."""
    found: dict[str, JsonValue] = {"checkpoint_id": str(one.checkpoint_id), "position": one.head}
    if one.step is not None:
        found["step"] = one.step
    if one.label is not None:
        found["label"] = one.label
    return found


async def _checkpoint(scope: Scope, memory: SessionServices, asked: SessionArguments) -> Answer:
    """This moment: messages, and the state that REST's callers keep."""
    made = await memory.working.checkpoint(scope, asked.session_id, CheckpointWish(asked.step, asked.label, {}), _once(asked))
    return Answer(f"Checkpoint {made.checkpoint_id} at message {made.head}.", _checkpoint_json(made))


async def _restore(scope: Scope, memory: SessionServices, asked: SessionArguments) -> Answer:
    """Back to a checkpoint; what that set aside comes back by its undo."""
    if asked.checkpoint_id is None:
        raise AssertionError  # the arguments were validated
    done = await memory.working.restore(scope, asked.session_id, asked.checkpoint_id, _once(asked))
    text = f"Restored: {done.set_aside} messages are set aside. To take that back, restore checkpoint {done.undo}."
    structured: dict[str, JsonValue] = {
        "checkpoint_id": str(done.checkpoint.checkpoint_id),
        "undo": str(done.undo),
        "set_aside": done.set_aside,
    }
    return Answer(text, structured)


def _answer(said: Sequence[str], structured: dict[str, JsonValue], restored: Restored | None) -> Answer:
    """With what became of a session that was lost meanwhile, if it was; one that had expired is whole."""
    if restored is None or not restored.lost:
        return Answer("\n".join(said), structured)
    taken, back = restored.taken_at.isoformat(timespec="seconds"), restored.restored_at.isoformat(timespec="seconds")
    lost = f"The session was lost and read back at {back} from a copy of {taken}: what came between is gone."
    return Answer("\n".join([*said, lost]), structured | {"restored_from": {"taken_at": taken, "restored_at": back}})


def _once(asked: SessionArguments) -> Idempotency | None:
    key = asked.idempotency_key
    return None if key is None else Idempotency(key, fingerprint(SESSION, asked))
