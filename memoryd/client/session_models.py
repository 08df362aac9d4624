"""What the service answers about sessions: the service's own schemas, by shorter names."""

from typing import Literal

from memoryd.client.models import Model
from memoryd.http.schemas import sessions as schemas

Role = Literal["user", "assistant", "system", "tool"]
AutoCommit = Literal["off", "expiry", "idle"]

RestoredFrom = schemas.RestoredOut
Placed = schemas.PlacedOut
Appended = schemas.AppendOut
SessionMessage = schemas.SessionMessageOut
SessionMessagePage = schemas.SessionMessagePage
Session = schemas.SessionOut
SessionPage = schemas.SessionPageOut
Entry = schemas.EntryOut
State = schemas.StateOut
WrittenState = schemas.WrittenStateOut
Effect = schemas.EffectOut
Checkpoint = schemas.CheckpointOut
Checkpoints = schemas.CheckpointsOut
Restored = schemas.RestoreOut
Snapshot = schemas.SnapshotOut
Snapshots = schemas.SnapshotsOut
Committed = schemas.CommitOut
SummaryLine = schemas.SummaryLineOut
Summary = schemas.SummaryOut
SessionContext = schemas.SessionContextOut


class Visible(Model):
    """Which positions of a session are shown since a restore."""

    head: int
    visible: list[tuple[int, int | None]]


class SessionSettings(Model):
    """What a tenant's sessions do unless they say otherwise. ``idle_s``: seconds without a new message, for ``idle``."""

    auto_commit: AutoCommit = "off"
    idle_s: int = 900
