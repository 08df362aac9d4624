"""When two things said are one memory.

With an ``external_id`` the caller decides: one id, one memory of a space. Without, it is the same memory when the text, the
subject (user, agent, speaker), the session, the kind and the event time are equal. An episodic memory without an event time
counts the day it was written, so that a «thanks!» said on two days stays two memories while a retry is recognised.
"""

import hashlib
from datetime import datetime

from memoryd.memory.model import Content, Kind


def identity(content: Content, external_id: str | None, now: datetime) -> bytes:
    """32 bytes, unique per space."""
    if external_id is not None:
        return _digest("external", external_id)
    event = content.event_time.timestamp() if content.event_time else None
    moment = f"day {now.date().isoformat()}" if event is None and content.kind is Kind.EPISODIC else repr(event)
    return _digest(
        "content",
        content.kind,
        content.text,
        content.speaker,
        content.role,
        content.user_id,
        content.agent_id,
        content.session_id,
        moment,
    )


def _digest(*parts: str | None) -> bytes:
    """SHA-256 over length-prefixed parts, so that no two lists of parts look alike."""
    digest = hashlib.sha256()
    for part in parts:
        data = b"-" if part is None else b"+" + part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()
