"""Operations on sessions: their messages and state, and their life."""

from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from memoryd.client.bases import UNSET, Unset
from memoryd.client.conversing import SESSIONS, ConversationOperations, session_path
from memoryd.client.core import asked, erased, paged, path, writing
from memoryd.client.operation import Iteration, Operation
from memoryd.client.session_models import (
    AutoCommit,
    Committed,
    Role,
    Session,
    SessionPage,
    SessionSettings,
    Snapshot,
    Snapshots,
)
from memoryd.client.session_state import StateOperations
from memoryd.client.steps import Flow, Query, Request, Steps

_SETTINGS: Final = "session-settings"


class SessionOperations(ConversationOperations, StateOperations):
    """``/v1/sessions``. A session's id is the caller's own name for it."""

    @Operation
    def configure(
        self,
        session_id: str,
        *,
        ttl_s: int | None = None,
        auto_commit: AutoCommit | Unset | None = UNSET,
        key: str | None = None,
    ) -> Steps[Session]:
        """Change how long it lives, and whether it is committed by itself; what is not given stays. ``auto_commit=None`` leaves
        that to the tenant's setting."""
        body: dict[str, JsonValue] = {} if ttl_s is None else {"ttl_s": ttl_s}
        body |= {} if isinstance(auto_commit, Unset) else {"auto_commit": auto_commit}
        return (yield from asked(Session, writing("PATCH", session_path(session_id), body, key=key), self.retries))

    @Operation
    def delete(self, session_id: str) -> Steps[None]:
        """Erase it and its snapshots, for good. What was committed stays in long-term memory."""
        yield from erased(Request("DELETE", session_path(session_id)), self.retries)

    @Operation
    def commit(self, session_id: str, *, roles: Sequence[Role] | None = None) -> Steps[Committed]:
        """Make memories of what was not committed yet, by default of the user's and the assistant's messages; safe to repeat."""
        body: JsonValue = None if roles is None else {"roles": list(roles)}
        return (yield from asked(Committed, Request("POST", session_path(session_id, "commit"), body=body), self.retries))

    @Operation
    def snapshot(self, session_id: str) -> Steps[Snapshot]:
        """Copy it to object storage now; the worker does so at intervals."""
        return (yield from asked(Snapshot, Request("POST", session_path(session_id, "snapshots")), self.retries))

    @Operation
    def snapshots(self, session_id: str) -> Steps[list[Snapshot]]:
        """The copies that are kept, newest first."""
        request = Request("GET", session_path(session_id, "snapshots"))
        return (yield from asked(Snapshots, request, self.retries)).snapshots

    @Operation
    def settings(self) -> Steps[SessionSettings]:
        """When the tenant's sessions are committed by themselves, unless they say otherwise."""
        return (yield from asked(SessionSettings, Request("GET", path(_SETTINGS)), self.retries))

    @Operation
    def replace_settings(self, settings: SessionSettings) -> Steps[SessionSettings]:
        """All of them. Needs ``admin``."""
        return (yield from asked(SessionSettings, Request("PUT", path(_SETTINGS), body=settings.model_dump()), self.retries))

    @Iteration
    def list(self, *, user_id: str | None = None, agent_id: str | None = None) -> Flow[Session]:
        """Sessions that have not ended, newest first; of a user, or in which an agent said something."""
        query: Query = ({} if user_id is None else {"user_id": user_id}) | ({} if agent_id is None else {"agent_id": agent_id})
        yield from paged(SessionPage, path(SESSIONS), query, self.retries, lambda page: (page.sessions, page.next_cursor))
