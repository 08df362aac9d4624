"""What a handler of a test does with an item."""

from collections.abc import Awaitable, Callable

from memoryd.jobs.model import JobItem, Outcome
from memoryd.jobs.ports import Control


def raising(error: Exception) -> Callable[[JobItem, Control], Awaitable[Outcome | None]]:
    async def work(item: JobItem, control: Control) -> Outcome | None:
        raise error

    return work


def giving(outcome: Outcome) -> Callable[[JobItem, Control], Awaitable[Outcome | None]]:
    async def work(item: JobItem, control: Control) -> Outcome | None:
        return outcome

    return work
