"""The use cases of working memory in one process, as the wiring hands them to an interface."""

from dataclasses import dataclass

from memoryd.memory.ports import Clock
from memoryd.sessions.commit import Commit
from memoryd.sessions.events import Events
from memoryd.sessions.lifecycle import Lifecycle
from memoryd.sessions.repeats import Repeats
from memoryd.sessions.window import Windows
from memoryd.sessions.working import Sessions


@dataclass(frozen=True, slots=True)
class SessionServices:
    """Everything that REST and MCP need of sessions."""

    working: Sessions
    repeats: Repeats
    lifecycle: Lifecycle
    commit: Commit
    windows: Windows
    events: Events
    clock: Clock
