"""Threads for what would hold the event loop, apart by who waits for it: one kind of work cannot take the threads of another.

Python runs one thread at a time, so that more of them finish nothing sooner: each kind has as many as may hold each other up.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Threads:
    """A few threads of one name. They begin with the first work and serve any event loop."""

    def __init__(self, name: str, most: int) -> None:
        self._executor = ThreadPoolExecutor(most, thread_name_prefix=name)

    async def run(self, work: Callable[Given, Made], /, *given: Given.args, **named: Given.kwargs) -> Made:
        """What ``work`` gives. Cancelled, it does not begin any more; what has begun ends for nobody."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(work, *given, **named))


QUICK = Threads("quick", 4)
"""Somebody waits for an answer: packing a context, hashing a question's words, cutting a short text. Milliseconds."""

UNIT = Threads("unit", 2)
"""Encoding inside an open transaction, a block at a time: it waits for nothing but other transactions."""

SNAPSHOTS = Threads("snapshots", 2)
"""Sessions into the bytes of their snapshots and back: megabytes of JSON, compressed."""

BULK = Threads("bulk", 2)
"""Loads of any size, in slices: parsing large bodies, cutting and analysing long texts."""
