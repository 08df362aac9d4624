"""Work on many things of which none may stop the others: tenants, sessions, jobs, knowledge bases."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

log = logging.getLogger(__name__)

Thing = TypeVar("Thing")


async def each(things: Iterable[Thing], work: Callable[[Thing], Awaitable[None]], at_once: int) -> None:
    """``work`` on every thing, on at most ``at_once`` at the same time, in their order. ``work`` raises nothing."""
    rest = iter(things)

    async def take() -> None:
        for one in rest:
            await work(one)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(take())


async def attempted(what: str, work: Awaitable[object]) -> bool:
    """Whether ``work``, the named part of it, succeeded. What it raised goes into the log by its type, without content.

    Whoever calls this comes back to what failed, or counts it.
    """
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whatever it is, the others have their turn
        log.warning("%s failed: %s", what, type(error).__name__)
        return False
    return True
