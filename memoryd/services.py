"""The use cases of one process, as the wiring hands them to an interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from memoryd.access.audit import AuditService
from memoryd.access.authenticate import Authenticator
from memoryd.access.service import KeyService, SpaceService
from memoryd.access.tenants import TenantService
from memoryd.errors import WorkingMemoryUnavailable
from memoryd.generations.service import Generations
from memoryd.jobs.services import JobServices
from memoryd.knowledge.services import KnowledgeServices
from memoryd.mcp.doors import Doors
from memoryd.mcp.ports import Chronicle
from memoryd.memory.context import Contexts
from memoryd.memory.handles import Handles
from memoryd.memory.ports import Clock, MemoryReader
from memoryd.memory.recall import Recall
from memoryd.memory.remember import Remember
from memoryd.memory.revise import Revise
from memoryd.sessions.joint import Joint
from memoryd.sessions.services import SessionServices
from retrieval.packing import TokenizerRegistry


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that readiness depends on. ``required``: without it the API is not ready."""

    ok: bool
    required: bool
    detail: str


class Readiness(Protocol):
    """Asks the stores and models how they are."""

    async def checks(self) -> Mapping[str, Check]:
        """By name; answers within a few seconds whatever is down."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that REST and MCP need, and nothing of how it is made."""

    authenticator: Authenticator
    keys: KeyService
    spaces: SpaceService
    tenants: TenantService
    audit: AuditService
    remember: Remember
    revise: Revise
    reader: MemoryReader
    recall: Recall
    contexts: Contexts
    handles: Handles
    chronicle: Chronicle
    tokenizers: TokenizerRegistry
    clock: Clock
    readiness: Readiness
    operator_key: str | None
    max_body_bytes: int
    request_timeout_s: float
    doors: Doors
    sessions: SessionServices | None
    joint: Joint
    knowledge: KnowledgeServices
    generations: Generations
    jobs: JobServices

    def end_streams(self) -> None:
        """Whoever listens to events is to come again: the process is about to stop, and would wait for them."""
        self.jobs.events.close()
        if self.sessions is not None:
            self.sessions.events.close()

    @property
    def working_memory(self) -> SessionServices:
        """The use cases of sessions. Raises ``WorkingMemoryUnavailable`` where the installation has no Redis."""
        if self.sessions is None:
            raise WorkingMemoryUnavailable("this installation has no working memory: set MEMORYD_REDIS_URL")
        return self.sessions
