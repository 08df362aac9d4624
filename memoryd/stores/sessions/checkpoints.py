""":class:`memoryd.sessions.ports.CheckpointStore` on Redis."""

import json
from uuid import UUID

from memoryd.errors import NotFound
from memoryd.ids import uuid7
from memoryd.sessions import ranges
from memoryd.sessions.model import Checkpoint, CheckpointWish, Limits, RestoredCheckpoint
from memoryd.sessions.ports import SessionGone, Target
from memoryd.sessions.ranges import Ranges
from memoryd.stores.sessions import rows
from memoryd.stores.sessions.scripts import Replay, Scripts, list_of, str_of
from retrieval.scope import Scope


class RedisCheckpoints:
    """Each is the visible ranges at one head, and a copy of the state."""

    def __init__(self, scripts: Scripts, limits: Limits) -> None:
        self._scripts = scripts
        self._limits = limits

    async def make(self, scope: Scope, target: Target, wish: CheckpointWish) -> Checkpoint:
        checkpoint_id = str(uuid7())
        labelled = "1" if wish.label else "0"
        arguments: list[str | int] = [checkpoint_id, _record(scope, wish), labelled, *self._kept()]
        try:
            (row,) = await self._scripts("checkpoint_put", scope, target, arguments)
        except Replay as replay:
            made = await self.get(scope, target, UUID(replay.answer))
            if made is None:
                raise NotFound("the checkpoint of that request has been dropped by retention") from None
            return made
        return rows.checkpoint(checkpoint_id, str_of(row))

    async def every(self, scope: Scope, target: Target) -> list[Checkpoint]:
        found, _ = await self._scripts("checkpoint_get", scope, target, [""])
        flat = [str_of(one) for one in list_of(found)]
        return [rows.checkpoint(one, row) for one, row in zip(flat[::2], flat[1::2], strict=True)]

    async def get(self, scope: Scope, target: Target, checkpoint_id: UUID) -> Checkpoint | None:
        try:
            found, state = await self._scripts("checkpoint_get", scope, target, [str(checkpoint_id)])
        except SessionGone:
            raise
        except NotFound:
            return None
        return rows.checkpoint(str(checkpoint_id), str_of(list_of(found)[1]), str_of(state))

    async def restore(self, scope: Scope, target: Target, checkpoint_id: UUID) -> RestoredCheckpoint | None:
        undo = CheckpointWish(None, None, {"before_restore_of": str(checkpoint_id)}, automatic=True)
        arguments: list[str | int] = [str(checkpoint_id), str(uuid7()), _record(scope, undo), *self._kept()]
        try:
            _, answer = await self._scripts("restore", scope, target, arguments)
            told = str_of(answer)
        except Replay as replay:
            told = replay.answer
        except SessionGone:
            raise
        except NotFound:
            return None
        before, after, head, made = json.loads(told)
        checkpoint = await self.get(scope, target, checkpoint_id)
        if checkpoint is None:
            return None
        aside = ranges.minus(ranges.closed(ranges.parse(before), head), ranges.closed(ranges.parse(after), head))
        return RestoredCheckpoint(checkpoint, UUID(made), _count(aside), head + 1)

    def _kept(self) -> tuple[int, int]:
        return self._limits.checkpoints, self._limits.checkpoint_bytes


def _record(scope: Scope, wish: CheckpointWish) -> str:
    record = {"by": scope.principal, "step": wish.step, "label": wish.label, "metadata": wish.metadata}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _count(spans: Ranges) -> int:
    return sum((last or first) - first + 1 for first, last in spans)
