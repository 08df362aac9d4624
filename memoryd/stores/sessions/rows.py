"""From what Redis holds to what the use cases speak about."""

import json
from collections.abc import Mapping
from uuid import UUID

from memoryd.sessions import ranges
from memoryd.sessions.model import AutoCommit, Checkpoint, Entry, Restored, Session, moment
from retrieval.filters import JsonValue


def session(session_id: str, meta: Mapping[str, str], agents: tuple[str, ...] = ()) -> Session:
    """From the hash ``meta``."""
    ttl_s, touched = int(meta["ttl"]), int(meta["touched"])
    return Session(
        session_id=session_id,
        incarnation=meta["inc"],
        space=meta["space"],
        user_id=meta["user"] or None,
        agents=agents,
        ttl_s=ttl_s,
        created_at=moment(int(meta["created"])),
        written_at=moment(int(meta["written"])),
        touched_at=moment(touched),
        expires_at=moment(touched + ttl_s * 1000),
        head=int(meta["head"]),
        messages=int(meta["count"]),
        size=int(meta["bytes"]),
        state_size=int(meta["sbytes"]),
        visible=ranges.parse(meta["vis"]),
        committed=ranges.parse(meta["committed"]),
        revision=int(meta["rev"]),
        auto_commit=AutoCommit(meta["auto"]) if meta.get("auto") else None,
        restored_from=restored(meta["restored"]),
        restores=int(meta.get("restores", 0)),
    )


# Behind the snapshots that were skipped: nothing was lost.
WHOLE = "whole"


def restored(text: str) -> Restored | None:
    """From the field ``restored``."""
    if not text:
        return None
    snapshot, taken, at, *others = json.loads(text)
    skipped = tuple(UUID(one) for one in others if one != WHOLE)
    return Restored(UUID(snapshot), moment(taken), moment(at), skipped, lost=WHOLE not in others)


def entry(key: str, stored: str) -> Entry:
    """From ``<version>:<json>``."""
    version, _, value = stored.partition(":")
    return Entry(key, int(version), json.loads(value))


def entries(flat: list[str]) -> tuple[Entry, ...]:
    """From keys and values in turn, by key."""
    return tuple(entry(key, value) for key, value in sorted(zip(flat[::2], flat[1::2], strict=True)))


def checkpoint(checkpoint_id: str, row: str, state: str = "") -> Checkpoint:
    """From ``head|visible|state version|ms|automatic|labelled|json``."""
    head, visible, version, at, automatic, _, record = row.split("|", 6)
    found: dict[str, JsonValue] = json.loads(record)
    step, label, metadata = found["step"], found["label"], found["metadata"]
    return Checkpoint(
        checkpoint_id=UUID(checkpoint_id),
        head=int(head),
        visible=ranges.parse(visible),
        state_version=int(version),
        created_at=moment(int(at)),
        created_by=str(found["by"]),
        step=step if isinstance(step, int) else None,
        label=None if label is None else str(label),
        metadata=metadata if isinstance(metadata, dict) else {},
        automatic=automatic == "1",
        state=entries(json.loads(state)) if state else (),
    )
