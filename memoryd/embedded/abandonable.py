"""Blocking work that the end of the process does not wait for, as it does for the threads of ``asyncio.to_thread``."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


async def abandonable(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread of its own; raises what it raised. It must bear a kill at any moment, for that is how it ends when
    the process does."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        failure: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, who waits for it raises it
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, failure)

    threading.Thread(target=run, daemon=True).start()
    await ended
