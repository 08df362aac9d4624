"""One memory takes the place of another: the old one's validity ends, and it stays as history."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from memoryd.memory.identity import identity
from memoryd.memory.model import Change, Content, Revision
from memoryd.memory.ports import NewRevision, Unit
from memoryd.memory.prepare import Preparer


async def supersede(unit: Unit, head: Revision, new_id: UUID, new: Content, now: datetime, preparer: Preparer) -> Revision:
    """Append to ``head`` the revision that says so, the new head. It is true until the new one is, in the world's time."""
    ends = new.valid_from or new.event_time or now
    valid_to = min(head.content.valid_to, ends) if head.content.valid_to else ends
    content = replace(head.content, valid_to=valid_to)
    return await unit.revise(
        head,
        NewRevision(
            content=content,
            action=Change.SUPERSEDED,
            reason=f"superseded by {new_id}",
            passages=await preparer.passages(head.space_id, content),
            keep_vectors=True,
            superseded_by=new_id,
            # Said again later it is news («back in Rome»), unless the caller's own id says that it is this one.
            identity=identity(head.content, head.external_id, head.created_at) if head.external_id else None,
        ),
    )
