"""``/v1/sessions``: messages, state, effects, checkpoints."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from memoryd.errors import InvalidRequest
from memoryd.http.caller import Caller, Once, Uses
from memoryd.http.document import VERSIONED
from memoryd.http.problems import documented
from memoryd.http.schemas.sessions import (
    AppendIn,
    AppendOut,
    CheckpointIn,
    CheckpointOut,
    CheckpointsOut,
    EffectOut,
    EntryOut,
    Key,
    RestoreIn,
    RestoreOut,
    SessionMessagePage,
    StateOut,
    ValueIn,
    WrittenStateOut,
)
from memoryd.http.session_views import (
    appended_out,
    appending,
    checkpoint_out,
    effect_out,
    entry_out,
    page_out,
)
from memoryd.http.strict import StrictRoute
from memoryd.sessions.model import CheckpointWish, Expected
from memoryd.sessions.services import SessionServices

_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_VERSION = re.compile(r'"(\d{1,16})"', re.ASCII)

_NO_VERSION = -1

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["sessions"], route_class=StrictRoute)


async def session_services(use: Uses) -> SessionServices:
    """The use cases of sessions. Raises ``WorkingMemoryUnavailable``."""
    return use.working_memory


async def expected_version(
    if_match: Annotated[str | None, Header(max_length=100, description='The version, as in `ETag`: `"3"`; `*`: any')] = None,
) -> Expected:
    """The version that the caller has seen. A tag that cannot be ours, or a weak one, is that of no version; nor is 0, by which
    the store means a key that is not there."""
    if if_match is None:
        return Expected()
    value = if_match.strip()
    if value == "*":
        return Expected(present=True)
    if not _TAG.fullmatch(value):
        raise InvalidRequest('If-Match: must be * or one entity tag such as "3"')
    found = _VERSION.fullmatch(value)
    return Expected(version=(int(found[1]) if found else 0) or _NO_VERSION)


async def none_match(
    if_none_match: Annotated[str | None, Header(max_length=100, description="`*`: only where there is no such key")] = None,
) -> bool:
    """Whether the key must be new."""
    if if_none_match is not None and if_none_match.strip() != "*":
        raise InvalidRequest("If-None-Match: must be *")
    return if_none_match is not None


Match = Annotated[Expected, Depends(expected_version)]
Sessions = Annotated[SessionServices, Depends(session_services)]
SessionId = Annotated[Key, Path(description="The caller's own name for the session")]
EntryKey = Annotated[Key, Path()]
After = Annotated[int, Query(ge=0, le=2**52, description="Positions above this one")]


@router.post("/messages", status_code=201, responses=documented(404, 409), operation_id="append_messages")
async def append(session_id: SessionId, body: AppendIn, scope: Caller, use: Sessions, once: Once) -> AppendOut:
    """Append one or many messages, all or none; the first makes the session.

    Positions are one total order, however many agents write at once. What was appended before is answered as `duplicate`.
    """
    messages, birth = appending(body, use.clock.now())
    return appended_out(messages, await use.working.append(scope, session_id, messages, birth, once))


@router.get("/messages", responses=documented(404), operation_id="list_messages")
async def messages(
    session_id: SessionId,
    scope: Caller,
    use: Sessions,
    after: After = 0,
    before: Annotated[int | None, Query(ge=1, le=2**52, description="Positions below this one")] = None,
    newest: Annotated[bool, Query(description="The last messages instead of the first")] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> SessionMessagePage:
    """Messages in order, without those that a restore set aside. A page is cut at 2 MiB."""
    page = await use.working.read(scope, session_id, after=after, before=before, limit=limit, newest=newest)
    return page_out(page, newest=newest)


@router.get("/state", responses=documented(404), operation_id="list_state")
async def state(session_id: SessionId, scope: Caller, use: Sessions) -> StateOut:
    """Every key with its value and version."""
    return StateOut(entries=[entry_out(one) for one in await use.working.state(scope, session_id)])


@router.get("/state/{key}", responses=documented(404) | VERSIONED, operation_id="get_state")
async def get_state(session_id: SessionId, key: EntryKey, scope: Caller, use: Sessions, response: Response) -> EntryOut:
    """One key. `ETag` is its version."""
    entry = await use.working.get_state(scope, session_id, key)
    response.headers["ETag"] = f'"{entry.version}"'
    return entry_out(entry)


@router.put("/state/{key}", responses=documented(404, 409) | VERSIONED, operation_id="put_state")
async def put_state(
    session_id: SessionId,
    key: EntryKey,
    body: ValueIn,
    scope: Caller,
    use: Sessions,
    once: Once,
    match: Match,
    absent: Annotated[bool, Depends(none_match)],
    response: Response,
) -> WrittenStateOut:
    """Set a key. With `If-Match` only from that version, with `If-None-Match: *` only where there is none; else 409 with the
    current version."""
    if absent and match != Expected():
        raise InvalidRequest("If-Match and If-None-Match: send one of them")
    expected = Expected(absent=True) if absent else match
    version, _ = await use.working.put_state(scope, session_id, key, body.value, expected, once)
    response.headers["ETag"] = f'"{version}"'
    return WrittenStateOut(key=key, version=version)


@router.delete("/state/{key}", status_code=204, responses=documented(404, 409), operation_id="delete_state")
async def delete_state(session_id: SessionId, key: EntryKey, scope: Caller, use: Sessions, once: Once, match: Match) -> None:
    """Delete a key; with `If-Match` only that version."""
    await use.working.delete_state(scope, session_id, key, match.version, once)


@router.put("/effects/{key}", responses=documented(404), operation_id="put_effect")
async def put_effect(session_id: SessionId, key: EntryKey, body: ValueIn, scope: Caller, use: Sessions) -> EffectOut:
    """Record what a step did, under the step's own idempotency key. The first write wins; a later one is told what it was."""
    return effect_out(await use.working.record_effect(scope, session_id, key, body.value))


@router.get("/effects/{key}", responses=documented(404), operation_id="get_effect")
async def get_effect(session_id: SessionId, key: EntryKey, scope: Caller, use: Sessions) -> EffectOut:
    """What a step did, so that a resumed agent does not do it again."""
    return effect_out(await use.working.get_effect(scope, session_id, key))


@router.post("/checkpoints", status_code=201, responses=documented(404), operation_id="make_checkpoint")
async def make_checkpoint(session_id: SessionId, body: CheckpointIn, scope: Caller, use: Sessions, once: Once) -> CheckpointOut:
    """Remember this moment: position of the messages, whole state, step, label. Atomic."""
    wish = CheckpointWish(body.step, body.label, body.metadata)
    return checkpoint_out(await use.working.checkpoint(scope, session_id, wish, once))


@router.get("/checkpoints", responses=documented(404), operation_id="list_checkpoints")
async def checkpoints(session_id: SessionId, scope: Caller, use: Sessions) -> CheckpointsOut:
    """All that are kept, oldest first. Beyond the limit the oldest go, unlabelled ones first."""
    return CheckpointsOut(checkpoints=[checkpoint_out(one) for one in await use.working.checkpoints(scope, session_id)])


@router.get("/checkpoints/{checkpoint_id}", responses=documented(404), operation_id="get_checkpoint")
async def get_checkpoint(session_id: SessionId, checkpoint_id: UUID, scope: Caller, use: Sessions) -> CheckpointOut:
    """One checkpoint with its state."""
    return checkpoint_out(await use.working.get_checkpoint(scope, session_id, checkpoint_id), state=True)


@router.post("/restore", responses=documented(404, 409), operation_id="restore_checkpoint")
async def restore(session_id: SessionId, body: RestoreIn, scope: Caller, use: Sessions, once: Once) -> RestoreOut:
    """Go back to a checkpoint: later messages are set aside, the state is what it was. Restoring `undo` takes that back."""
    done = await use.working.restore(scope, session_id, body.checkpoint_id, once)
    return RestoreOut(
        checkpoint=checkpoint_out(done.checkpoint),
        undo=done.undo,
        set_aside=done.set_aside,
        next_position=done.first_position,
    )
