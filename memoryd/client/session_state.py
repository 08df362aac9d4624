"""Operations on a session's state, the effects of its steps, and its checkpoints."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.conversing import session_path
from memoryd.client.core import answered, asked, writing
from memoryd.client.operation import Operation, Operations
from memoryd.client.session_models import Checkpoint, Checkpoints, Effect, Entry, Restored, State, WrittenState
from memoryd.client.steps import Request, Steps
from memoryd.client.wording import filled, segment


class StateOperations(Operations):
    """``version``: only if the key still has that one, else ``Conflict``."""

    @Operation
    def state(self, session_id: str) -> Steps[list[Entry]]:
        """Every key with its value and version."""
        return (yield from asked(State, Request("GET", session_path(session_id, "state")), self.retries)).entries

    @Operation
    def get_state(self, session_id: str, name: str) -> Steps[Entry]:
        """One key. Raises ``NotFound``."""
        return (yield from asked(Entry, Request("GET", _entry(session_id, "state", name)), self.retries))

    @Operation
    def put_state(
        self,
        session_id: str,
        name: str,
        value: JsonValue,
        *,
        version: int | None = None,
        absent: bool = False,
        key: str | None = None,
    ) -> Steps[WrittenState]:
        """Set a key; with ``absent``, only where there is none yet."""
        request = writing("PUT", _entry(session_id, "state", name), {"value": value}, key=key, match=version)
        if absent:
            request = replace(request, headers={**request.headers, "If-None-Match": "*"})
        return (yield from asked(WrittenState, request, self.retries))

    @Operation
    def delete_state(self, session_id: str, name: str, *, version: int | None = None, key: str | None = None) -> Steps[None]:
        """Delete a key."""
        yield from answered(writing("DELETE", _entry(session_id, "state", name), key=key, match=version), self.retries)

    @Operation
    def put_effect(self, session_id: str, step: str, value: JsonValue) -> Steps[Effect]:
        """Record what a step did, under its own key. The first write wins; a later one is told what it was."""
        request = Request("PUT", _entry(session_id, "effects", step), body={"value": value})
        return (yield from asked(Effect, request, self.retries))

    @Operation
    def get_effect(self, session_id: str, step: str) -> Steps[Effect]:
        """What a step did. Raises ``NotFound``."""
        return (yield from asked(Effect, Request("GET", _entry(session_id, "effects", step)), self.retries))

    @Operation
    def checkpoint(
        self,
        session_id: str,
        *,
        step: int | None = None,
        label: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        key: str | None = None,
    ) -> Steps[Checkpoint]:
        """Remember this moment: messages, state, step, label. Those with a label outlive those without."""
        body = filled({"step": step, "label": label, "metadata": dict(metadata or {})})
        return (
            yield from asked(Checkpoint, writing("POST", session_path(session_id, "checkpoints"), body, key=key), self.retries)
        )

    @Operation
    def checkpoints(self, session_id: str) -> Steps[list[Checkpoint]]:
        """Those that are kept, oldest first."""
        request = Request("GET", session_path(session_id, "checkpoints"))
        return (yield from asked(Checkpoints, request, self.retries)).checkpoints

    @Operation
    def get_checkpoint(self, session_id: str, checkpoint_id: UUID | str) -> Steps[Checkpoint]:
        """One, with its state. Raises ``NotFound``."""
        return (
            yield from asked(
                Checkpoint, Request("GET", session_path(session_id, "checkpoints", str(checkpoint_id))), self.retries
            )
        )

    @Operation
    def restore(self, session_id: str, checkpoint_id: UUID | str, *, key: str | None = None) -> Steps[Restored]:
        """Go back to a checkpoint: later messages are set aside, the state is what it was."""
        body = {"checkpoint_id": str(checkpoint_id)}
        return (
            yield from asked(Restored, writing("POST", session_path(session_id, "restore"), dict(body), key=key), self.retries)
        )


def _entry(session_id: str, what: str, name: str) -> str:
    return session_path(session_id, what, segment("key", name))
