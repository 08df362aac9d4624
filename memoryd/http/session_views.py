"""From the session use cases' results to the bodies of answers, and back."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, cast

from pydantic import JsonValue as PydanticJson
from pydantic_core import to_json

from memoryd.http.schemas.sessions import (
    AppendIn,
    AppendOut,
    CheckpointOut,
    EffectOut,
    EntryOut,
    PlacedOut,
    RestoredOut,
    SessionContextOut,
    SessionMessageIn,
    SessionMessageOut,
    SessionMessagePage,
    SessionOut,
    SnapshotOut,
    SummaryLineOut,
    SummaryOut,
)
from memoryd.sessions.events import Event, EventKind
from memoryd.sessions.model import (
    Appended,
    Birth,
    Checkpoint,
    Effect,
    Entry,
    NewMessage,
    Page,
    Restored,
    Session,
    Stored,
)
from memoryd.sessions.ports import SnapshotRecord
from memoryd.sessions.window import Window
from retrieval.filters import JsonValue

# Without the layer that passes every option on, whose cost is that of the work.
_DUMP = SessionMessageIn.__pydantic_serializer__.to_json


class Appending(NamedTuple):
    """What an append asks for."""

    messages: Sequence[NewMessage]
    birth: Birth


def appending(body: AppendIn, now: datetime) -> Appending:
    """Everything but the session's name and the receipt."""
    return Appending(new_messages(body, now), Birth(body.space, body.user_id, body.agent_id, body.ttl_s))


def new_messages(body: AppendIn, now: datetime) -> list[NewMessage]:
    """What is stored: the fields that were given, as JSON."""
    recorded_at = now.isoformat()
    return [new_message(message, body.agent_id, recorded_at) for message in body.messages]


def new_message(message: SessionMessageIn, agent_id: str | None, recorded_at: str) -> NewMessage:
    """``agent_id``: of one that names none."""
    agent = message.agent_id or agent_id
    text = _DUMP(message, exclude_defaults=True).decode().removesuffix("}")  # never empty: there is a role
    if message.agent_id is None and agent is not None:
        text += f',"agent_id":{json.dumps(agent, ensure_ascii=False)}'
    return NewMessage(message.id, agent, message.pinned, f'{text},"recorded_at":"{recorded_at}"}}')


def appended_out(messages: Sequence[NewMessage], appended: Appended) -> AppendOut:
    """In the order sent."""
    return AppendOut(
        results=[
            PlacedOut(position=one.position, id=message.client_id, status="created" if one.created else "duplicate")
            for message, one in zip(messages, appended.placed, strict=True)
        ],
        head=appended.head,
        restored_from=restored_out(appended.restored_from),
    )


def appended_json(messages: Sequence[NewMessage], appended: Appended) -> bytes:
    """As :func:`appended_out`, written."""
    restored = restored_out(appended.restored_from)
    return to_json(
        {
            "results": [
                {"position": one.position, "id": message.client_id, "status": "created" if one.created else "duplicate"}
                for message, one in zip(messages, appended.placed, strict=True)
            ],
            "head": appended.head,
            "restored_from": None if restored is None else restored.model_dump(mode="json"),
        }
    )


def message_out(message: Stored) -> SessionMessageOut:
    """As it was sent; it was checked then."""
    payload = cast("Mapping[str, PydanticJson]", message.payload)
    return SessionMessageOut.model_validate({"position": message.position, **payload})


def page_out(page: Page, *, newest: bool) -> SessionMessagePage:
    """``next_after`` leads forward, also where the newest were asked for: to what will come."""
    messages = [message_out(one) for one in page.messages]
    more = page.more and not newest
    return SessionMessagePage(
        messages=messages,
        head=page.session.head,
        next_after=messages[-1].position if more and messages else None,
        restored_from=restored_out(page.session.restored_from),
    )


def session_out(session: Session) -> SessionOut:
    """As it stands."""
    return SessionOut(
        id=session.session_id,
        space=session.space,
        user_id=session.user_id,
        agents=list(session.agents),
        head=session.head,
        messages=session.messages,
        bytes=session.size,
        state_bytes=session.state_size,
        visible=[(first, last) for first, last in session.visible],
        committed=[(first, last) for first, last in session.committed],
        ttl_s=session.ttl_s,
        auto_commit=session.auto_commit,
        created_at=session.created_at,
        expires_at=session.expires_at,
        restored_from=restored_out(session.restored_from),
    )


def window_out(window: Window, budget: int) -> SessionContextOut:
    """A context."""
    return SessionContextOut(
        text=window.text,
        messages=[message_out(one) for one in (*window.pinned, *window.messages)],
        cut=list(window.cut),
        summary=_summary_out(window),
        used_tokens=window.tokens,
        budget_tokens=budget,
        tokenizer=window.tokenizer,
        head=window.session.head,
        window_from=window.messages[0].position if window.messages else None,
        omitted=window.omitted,
        degraded=list(window.degraded),
        restored_from=restored_out(window.session.restored_from),
    )


def _summary_out(window: Window) -> SummaryOut | None:
    shown = window.summary
    if shown is None:
        return None
    lines = [] if shown.by_model else shown.lines
    return SummaryOut(
        text=shown.text,
        tokens=window.summary_tokens,
        written_by="model" if shown.by_model else "extractive",
        covers=shown.covers,
        lines=[
            SummaryLineOut(position=one.position, speaker=one.speaker, time=datetime.fromisoformat(one.time), text=one.text)
            for one in lines
        ],
    )


def event_text(event: Event) -> str:
    """An event as it goes over the wire. An id by itself is no event to who listens, but what they come back with."""
    if event.kind is EventKind.BEGIN:
        return f"id: {event.after}\n\n"
    if event.kind is EventKind.HEARTBEAT:
        return ": heartbeat\n\n"
    if event.message is not None:
        data = message_out(event.message).model_dump_json(exclude_none=True)
        return f"id: {event.after}\nevent: message\ndata: {data}\n\n"
    data = json.dumps({"head": event.page.session.head, "visible": event.page.session.visible})
    return f"id: {event.after}\nevent: {event.kind}\ndata: {data}\n\n"


def restored_out(restored: Restored | None) -> RestoredOut | None:
    """Where a session was read back from."""
    if restored is None:
        return None
    return RestoredOut(
        snapshot_id=restored.snapshot_id,
        taken_at=restored.taken_at,
        restored_at=restored.restored_at,
        skipped=list(restored.skipped),
        lost=restored.lost,
    )


def entry_out(entry: Entry) -> EntryOut:
    """One key of the state."""
    return EntryOut(key=entry.key, version=entry.version, value=_json(entry.value))


def effect_out(effect: Effect) -> EffectOut:
    """A recorded result."""
    return EffectOut(
        key=effect.key,
        value=_json(effect.value),
        recorded_at=effect.recorded_at,
        recorded_by=effect.recorded_by,
        created=effect.created,
    )


def checkpoint_out(checkpoint: Checkpoint, *, state: bool = False) -> CheckpointOut:
    """``state``: with what the state was."""
    return CheckpointOut(
        id=checkpoint.checkpoint_id,
        position=checkpoint.head,
        step=checkpoint.step,
        label=checkpoint.label,
        metadata={key: _json(value) for key, value in checkpoint.metadata.items()},
        automatic=checkpoint.automatic,
        created_at=checkpoint.created_at,
        created_by=checkpoint.created_by,
        state=[entry_out(one) for one in checkpoint.state] if state else None,
    )


def snapshot_out(record: SnapshotRecord) -> SnapshotOut:
    """A copy in object storage."""
    return SnapshotOut(id=record.snapshot_id, taken_at=record.taken_at, reason=record.reason, head=record.head, bytes=record.size)


def _json(value: JsonValue) -> PydanticJson:
    """The same object, under pydantic's name for it."""
    return cast("PydanticJson", value)
