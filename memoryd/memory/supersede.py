"""One memory takes the place of another: the old one's validity ends, and it stays as history."""

import asyncio
from dataclasses import replace
from datetime import datetime

from memoryd.memory.identity import identity
from memoryd.memory.model import Change, Prepared, Revision
from memoryd.memory.ports import NewRevision, Unit
from memoryd.memory.prepare import Preparer


async def supersede(unit: Unit, head: Revision, new: Prepared, now: datetime, preparer: Preparer) -> None:
    """Append to ``head`` the revision that says so. It is true until the new one is, in the world's time."""
    ends = new.content.valid_from or new.content.event_time or now
    valid_to = min(head.content.valid_to, ends) if head.content.valid_to else ends
    content = replace(head.content, valid_to=valid_to)
    passages, _ = await asyncio.to_thread(preparer.passages, head.space_id, content)
    await unit.revise(
        head,
        NewRevision(
            content=content,
            action=Change.SUPERSEDED,
            reason=f"superseded by {new.memory_id}",
            passages=tuple(passages),
            keep_vectors=True,
            superseded_by=new.memory_id,
            # Said again later it is news («back in Rome»), unless the caller's own id says that it is this one.
            identity=identity(head.content, head.external_id, head.created_at) if head.external_id else None,
        ),
    )
