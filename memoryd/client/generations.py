"""Operations on embedding generations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from memoryd.client.core import asked, paged, path, writing
from memoryd.client.generation_models import Generation, GenerationPage, GenerationScope
from memoryd.client.operation import Iteration, Operation, Operations
from memoryd.client.steps import Flow, Request, Sleep, Steps

GENERATIONS: Final = "generations"

_POLL_S = 1.0


class GenerationOperations(Operations):
    """With the operator's key the installation's generations, with a tenant's admin key its own."""

    @Operation
    def create(self, model: str, *, scope: GenerationScope | None = None, knowledge_base: str | None = None) -> Steps[Generation]:
        """Begin to embed everything with another model. ``scope``: what the key may, unless it is said."""
        body: dict[str, JsonValue] = {"model": model, "scope": scope, "knowledge_base": knowledge_base}
        given: dict[str, JsonValue] = {name: value for name, value in body.items() if value is not None}
        return (yield from asked(Generation, writing("POST", path(GENERATIONS), given), self.retries))

    @Operation
    def get(self, number: int) -> Steps[Generation]:
        """A generation as it stands."""
        return (yield from asked(Generation, Request("GET", path(GENERATIONS, str(number))), self.retries))

    @Iteration
    def list(self) -> Flow[Generation]:
        """By number."""
        yield from paged(GenerationPage, path(GENERATIONS), {}, self.retries, lambda page: (page.generations, page.next_cursor))

    @Operation
    def wait(self, number: int, *, on_change: Callable[[Generation], None] | None = None) -> Steps[Generation]:
        """The generation when it has caught up and was verified, or is paused, where nothing comes of waiting; ``on_change`` is
        told every second how far it is. What the worker waits for, ``failure`` says."""
        while True:
            found = yield from GenerationOperations.get.steps(self, number)
            if on_change is not None:
                on_change(found)
            if found.ready or found.paused:
                return found
            yield Sleep(_POLL_S)

    @Operation
    def pause(self, number: int) -> Steps[Generation]:
        """The worker leaves it alone; writes go on reaching it."""
        return (yield from self._told(number, "pause", None))

    @Operation
    def resume(self, number: int) -> Steps[Generation]:
        """The worker goes on where it was."""
        return (yield from self._told(number, "resume", None))

    @Operation
    def verify(
        self,
        number: int,
        *,
        queries: Mapping[str, Sequence[str]] | None = None,
        on_change: Callable[[Generation], None] | None = None,
    ) -> Steps[Generation]:
        """Measure again. ``queries``: questions with the ids that answer them, with a tenant's key. What takes longer than a
        request is waited for as in :meth:`wait`."""
        asking: list[JsonValue] = [{"query": one, "relevant": list(ids)} for one, ids in (queries or {}).items()]
        found = yield from self._told(number, "verify", {"queries": asking})
        return (yield from GenerationOperations.wait.steps(self, number, on_change=on_change)) if found.measuring else found

    @Operation
    def cut_over(self, number: int, *, force: str | None = None) -> Steps[Generation]:
        """Answer reads from it. ``force``: why, where its verification did not pass."""
        return (yield from self._told(number, "cutover", {"force": force}))

    @Operation
    def roll_back(self, number: int, *, force: str | None = None) -> Steps[Generation]:
        """Answer reads from what it replaced again."""
        return (yield from self._told(number, "rollback", {"force": force}))

    @Operation
    def retire(self, number: int) -> Steps[Generation]:
        """Give it up for good."""
        return (yield from self._told(number, "retire", None))

    def _told(self, number: int, command: str, body: JsonValue) -> Steps[Generation]:
        return (yield from asked(Generation, writing("POST", path(GENERATIONS, str(number), command), body), self.retries))
