"""What many ask for one after the other, done for some of them at once: a trip to a store costs more than what it is made for."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Got = TypeVar("Got")
Key = TypeVar("Key", bound=tuple[Hashable, ...])

_LINGER_S = 0.02
_MOST = 64


class Company:
    """Who works side by side, and will ask for the same sooner or later: those of one kind, such as a tenant's. Of one event
    loop."""

    def __init__(self) -> None:
        self._sizes: Counter[Hashable] = Counter()

    def size(self, kind: Hashable) -> int:
        """How many there are now."""
        return self._sizes[kind]

    @contextmanager
    def joined(self, kind: Hashable) -> Iterator[None]:
        """One more, while the context is open."""
        self._sizes[kind] += 1
        try:
            yield
        finally:
            self._sizes[kind] -= 1
            if not self._sizes[kind]:
                del self._sizes[kind]


@dataclass(eq=False, slots=True)
class _Group(Generic[Asked, Got]):
    """Who waits for one doing."""

    members: dict[asyncio.Future[Got], Asked] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Together(Generic[Key, Asked, Got]):
    """``work`` for several callers at once: those that come within ``linger_s`` of the first, with the same key.

    Nobody waits who is the whole ``company``, nor for more than it has. Where ``work`` fails for some of them, it is done again
    for each alone, so that nobody fails of another; but not where it may have been done (``final``), which is told to all. It is
    cancelled when nobody waits for it any more.
    """

    def __init__(
        self,
        work: Callable[[Key, Sequence[Asked]], Awaitable[Sequence[Got]]],
        company: Company,
        *,
        final: type[Exception] | tuple[type[Exception], ...] = (),
        linger_s: float = _LINGER_S,
        most: int = _MOST,
    ) -> None:
        """``work`` gives as many as were asked, in their order. A key begins with the kind of company that it is asked in."""
        self._work = work
        self._company = company
        self._final = final
        self._linger_s = linger_s
        self._most = most
        self._waiting: dict[Key, _Group[Asked, Got]] = {}

    async def ask(self, key: Key, asked: Asked) -> Got:
        """What ``work`` gives for this one, or raises."""
        group = self._waiting.get(key)
        if group is None:
            group = self._waiting[key] = _Group()
            group.task = asyncio.create_task(self._done(key, group))
        future: asyncio.Future[Got] = asyncio.get_running_loop().create_future()
        group.members[future] = asked
        if len(group.members) >= min(self._most, self._company.size(key[0])):
            self._close(key, group)
        try:
            return await future
        finally:
            del group.members[future]
            if future.cancelled() and not group.members and group.task is not None:
                self._close(key, group)
                group.task.cancel()
                await asyncio.wait([group.task])

    def _close(self, key: Key, group: _Group[Asked, Got]) -> None:
        """Nobody else joins it."""
        if self._waiting.get(key) is group:
            del self._waiting[key]
        group.complete.set()

    async def _done(self, key: Key, group: _Group[Asked, Got]) -> None:
        try:
            async with asyncio.timeout(self._linger_s):
                await group.complete.wait()
        except TimeoutError:
            self._close(key, group)
        await self._settle(key, dict(group.members))

    async def _settle(self, key: Key, asking: Mapping[asyncio.Future[Got], Asked]) -> None:
        try:
            got = list(zip(asking, await self._work(key, list(asking.values())), strict=True))
        except Exception as error:  # noqa: BLE001 - whoever asked raises it
            waiting = {future: asked for future, asked in asking.items() if not future.done()}
            if len(asking) > 1 and not isinstance(error, self._final):
                await asyncio.gather(*(self._settle(key, {future: asked}) for future, asked in waiting.items()))
                return
            for future in waiting:
                future.set_exception(error)
            return
        for future, one in got:
            if not future.done():
                future.set_result(one)
