"""What many ask for one after the other, done for some of them at once: a trip to a store costs more than what it is made for."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
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
        await _settle(self._work, key, dict(group.members), self._final)


@dataclass(eq=False, slots=True)
class _Line(Generic[Asked, Got]):
    """Who waits for what is under way, and how much of it is."""

    waiting: deque[tuple[asyncio.Future[Got], Asked]] = field(default_factory=deque)
    running: int = 0


class Following(Generic[Key, Asked, Got]):
    """``work`` for several callers at once: those that ask with the same key while it is under way for others. Nobody waits for
    company, so that one who is alone is answered as soon as ever.

    Where ``work`` fails for some of them, it is done again for each alone, but not where that says nothing of what was asked
    (``final``), which is told to all, and to those who wait by then.
    """

    def __init__(
        self,
        work: Callable[[Key, Sequence[Asked]], Awaitable[Sequence[Got]]],
        *,
        final: type[Exception] | tuple[type[Exception], ...] = (),
        at_once: int = 2,
        most: int = _MOST,
    ) -> None:
        """``work`` gives as many as were asked, in their order, and begins after all of them asked. ``at_once``: of one key."""
        self._work = work
        self._final = final
        self._at_once = at_once
        self._most = most
        self._lines: dict[Key, _Line[Asked, Got]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, key: Key, asked: Asked) -> Got:
        """What ``work`` gives for this one, or raises."""
        line = self._lines.setdefault(key, _Line())
        future: asyncio.Future[Got] = asyncio.get_running_loop().create_future()
        line.waiting.append((future, asked))
        if line.running < self._at_once:
            # It begins after everybody who is to run in this turn of the event loop, and takes what they ask along.
            line.running += 1
            task = asyncio.create_task(self._run(key, line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _run(self, key: Key, line: _Line[Asked, Got]) -> None:
        try:
            while line.waiting:
                some = [line.waiting.popleft() for _ in range(min(self._most, len(line.waiting)))]
                asking = {future: asked for future, asked in some if not future.done()}
                if not asking:
                    continue
                try:
                    failed = await _settle(self._work, key, asking, self._final)
                except BaseException:
                    _cancel(asking)
                    raise
                if failed is not None:
                    # Who waits behind an outage does not wait for another.
                    _tell(failed, [future for future, _ in line.waiting])
                    line.waiting.clear()
        finally:
            line.running -= 1
            if not line.running:
                del self._lines[key]
                _cancel(future for future, _ in line.waiting)  # nobody, but where this was cancelled


async def _settle(
    work: Callable[[Key, Sequence[Asked]], Awaitable[Sequence[Got]]],
    key: Key,
    asking: Mapping[asyncio.Future[Got], Asked],
    final: type[Exception] | tuple[type[Exception], ...],
) -> Exception | None:
    """Gives everybody who asks what ``work`` gives, or its error; an error that is ``final``."""
    try:
        got = list(zip(asking, await work(key, list(asking.values())), strict=True))
    except Exception as error:  # noqa: BLE001 - whoever asked raises it
        waiting = {future: asked for future, asked in asking.items() if not future.done()}
        if len(asking) > 1 and not isinstance(error, final):
            await asyncio.gather(*(_settle(work, key, {future: asked}, final) for future, asked in waiting.items()))
            return None
        _tell(error, waiting)
        return error if isinstance(error, final) else None
    for future, one in got:
        if not future.done():
            future.set_result(one)
    return None


def _tell(error: Exception, futures: Iterable[asyncio.Future[Got]]) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _cancel(futures: Iterable[asyncio.Future[Got]]) -> None:
    for future in futures:
        future.cancel()
