"""Several servers of one model, in order of preference, and a second request where the first is unusually slow."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from retrieval.errors import InferenceError, InferenceOverloaded, InferenceUnavailable, ModelMismatch
from retrieval.inference.remote.endpoint import Answer, Call, Endpoint

T = TypeVar("T")

log = logging.getLogger(__name__)

_REMEMBERED: Final = 200
_ENOUGH: Final = 20
_HEDGES_A_CALL: Final = 0.1
"""Second requests are at most this share of all: when everything is slow they would only make it slower."""
_SAVED_HEDGES: Final = 5.0
_VERIFIED_S: Final = 0.5
"""How long one that was well half a minute ago may take to say what model it has, for which it computes nothing. A recall has
two seconds for the whole dense arm, and what is slower than this says nothing of the model."""
_INLINE_BYTES: Final = 32_768
"""What is read on the event loop: as JSON, half a millisecond."""


class RecentLatencies:
    """Seconds of the last calls."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, seconds: float) -> None:
        """Count one call that was answered."""
        self._seconds.append(seconds)

    @property
    def p95_s(self) -> float | None:
        """What 95 of 100 calls do not exceed; ``None`` while there are too few to tell."""
        if len(self._seconds) < _ENOUGH:
            return None
        return sorted(self._seconds)[int(0.95 * (len(self._seconds) - 1))]


class Endpoints:
    """Asks the first server that can be asked, then the next. ``verify`` looks at a server's model before it is used, and
    again after it has failed, or when it is used ``again_s`` after the last time: it raises :class:`ModelMismatch` for the
    wrong one."""

    def __init__(
        self, endpoints: Sequence[Endpoint], verify: Callable[[Endpoint], Awaitable[None]], *, again_s: float = math.inf
    ) -> None:
        if not endpoints:
            raise ValueError("no endpoint")
        self._endpoints = tuple(endpoints)
        self._verify = verify
        self._again_s = again_s
        self._checks: dict[Endpoint, asyncio.Task[None]] = {}
        self._latencies = RecentLatencies()
        self._hedges = _SAVED_HEDGES

    @property
    def usable(self) -> bool:
        """True while a server at least may be asked."""
        return any(not endpoint.breaker.wait_s for endpoint in self._endpoints)

    async def ask(self, call: Call, read: Callable[[Answer], T], *, timeout_s: float, hedged: bool = False) -> T:
        """What ``read``, which may run in a thread, makes of the first answer.

        One that it cannot read (``ValueError``, ``LookupError``, ``TypeError``, :class:`ModelMismatch`) is as good as none.
        ``hedged``: of calls that may be made twice; a second one follows after the p95 of recent calls.

        Raises:
            InferenceOverloaded: every server that answered has too much to do; with the shortest of their waits.
            ModelMismatch: no server has the model, and none is merely away.
            InferenceUnavailable: no server answers.
            InferenceError: a server refused the request for what it is.
        """

        async def one(endpoint: Endpoint, left_s: float) -> T:
            return await self._asked(endpoint, call, read, left_s)

        delay = self._latencies.p95_s if hedged else None
        if hedged:
            self._hedges = min(_SAVED_HEDGES, self._hedges + _HEDGES_A_CALL)
        started = time.monotonic()
        if delay is None or delay >= timeout_s:
            found = await self._in_order(self._endpoints, timeout_s, one)
        else:
            found = await self._twice(one, timeout_s, delay)
        if hedged:
            self._latencies.add(time.monotonic() - started)
        return found

    async def look(self, *, timeout_s: float) -> None:
        """Verify the first server that answers. Raises as :meth:`ask`."""
        await self._in_order(self._endpoints, timeout_s, lambda endpoint, left_s: self._verified(endpoint, left_s))

    async def close(self) -> None:
        """Close all connections."""
        await _cancelled(list(self._checks.values()))
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _in_order(
        self, endpoints: Sequence[Endpoint], timeout_s: float, ask: Callable[[Endpoint, float], Awaitable[T]]
    ) -> T:
        due = time.monotonic() + timeout_s
        errors: list[InferenceError] = []
        for place, endpoint in enumerate(endpoints):
            left = due - time.monotonic()
            if left <= 0:
                break
            if not endpoint.breaker.admit():
                continue
            try:
                # One that hangs must leave time for those behind it.
                return await ask(endpoint, left / (len(endpoints) - place))
            except (InferenceUnavailable, InferenceOverloaded, ModelMismatch) as error:
                log.warning("inference endpoint %s: %s", endpoint.name, error.code)
                errors.append(error)
            finally:
                endpoint.breaker.abandoned()
        raise self._verdict(errors)

    async def _asked(self, endpoint: Endpoint, call: Call, read: Callable[[Answer], T], timeout_s: float) -> T:
        due = time.monotonic() + timeout_s
        if endpoint.verified_at is None:
            await self._verified(endpoint, timeout_s)
        elif time.monotonic() - endpoint.verified_at >= self._again_s:
            await self._verified_again(endpoint, timeout_s)
        with _expecting(endpoint):
            answer = await endpoint.ask(call, timeout_s=max(0.001, due - time.monotonic()))
            if len(answer.body) <= _INLINE_BYTES:
                return read(answer)
            return await asyncio.to_thread(read, answer)

    async def _verified(self, endpoint: Endpoint, timeout_s: float) -> None:
        verified = False
        try:
            with _expecting(endpoint):
                async with asyncio.timeout(timeout_s):
                    await self._verify(endpoint)
            verified = True
        except TimeoutError as error:
            raise InferenceUnavailable(f"{endpoint.name} does not say what model it has.") from error
        finally:
            endpoint.verified_at = time.monotonic() if verified else None

    async def _verified_again(self, endpoint: Endpoint, timeout_s: float) -> None:
        """One asks, and those who come meanwhile wait for what it hears: of one load, no part is to be another model's."""
        check = self._checks.get(endpoint)
        if check is None:
            check = asyncio.create_task(self._still(endpoint))
            self._checks[endpoint] = check
            check.add_done_callback(lambda done: self._checked(endpoint, done))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(check)
        except TimeoutError as error:
            raise InferenceUnavailable(f"{endpoint.name} does not say what model it has.") from error

    async def _still(self, endpoint: Endpoint) -> None:
        """Verify one that was well when it was used last. It is believed until it says otherwise: where it is too busy to say
        anything, or does not answer any more, the call itself finds that out."""
        try:
            with _expecting(endpoint):
                async with asyncio.timeout(_VERIFIED_S):
                    await self._verify(endpoint)
        except (TimeoutError, InferenceOverloaded) as error:
            if endpoint.verified_at is None:  # another call failed meanwhile
                raise InferenceUnavailable(f"{endpoint.name} does not say what model it has.") from error
            log.info("inference endpoint %s does not say what model it has, and is believed to have the same", endpoint.name)
        endpoint.verified_at = time.monotonic()

    def _checked(self, endpoint: Endpoint, done: asyncio.Task[None]) -> None:
        del self._checks[endpoint]
        if not done.cancelled():
            done.exception()  # which has been told to those who waited, if any still did

    async def _twice(self, ask: Callable[[Endpoint, float], Awaitable[T]], timeout_s: float, delay_s: float) -> T:
        first = asyncio.create_task(self._in_order(self._endpoints, timeout_s, ask))
        tasks = [first]
        try:
            done, _ = await asyncio.wait(tasks, timeout=delay_s)
            if not done and self._hedges >= 1.0:
                self._hedges -= 1.0
                # By another server where there is one; it is the first to be asked then.
                turned = (*self._endpoints[1:], self._endpoints[0])
                tasks.append(asyncio.create_task(self._in_order(turned, timeout_s - delay_s, ask)))
            return await _first_of(tasks)
        finally:
            await _cancelled(tasks)

    def _verdict(self, errors: Sequence[InferenceError]) -> InferenceError:
        """What to tell of a call that no server answered."""
        busy = [error for error in errors if isinstance(error, InferenceOverloaded)]
        if busy:
            return min(busy, key=lambda error: error.retry_after_s or 0.0)
        if errors and all(isinstance(error, ModelMismatch) for error in errors) and len(errors) == len(self._endpoints):
            return errors[0]
        away = next((error for error in errors if isinstance(error, InferenceUnavailable)), None)
        if away is not None:
            return away
        wait = min(endpoint.breaker.wait_s for endpoint in self._endpoints)
        unavailable = InferenceUnavailable("No inference endpoint can be asked now: they failed lately.")
        unavailable.retry_after_s = max(1.0, wait)
        return unavailable


@contextmanager
def _expecting(endpoint: Endpoint) -> Iterator[None]:
    """What a server should not have said is a reason to leave it alone."""
    try:
        yield
    except ModelMismatch as error:
        log.warning("inference endpoint %s is not used: %s", endpoint.name, error)
        endpoint.refuse()
        raise
    except (ValueError, LookupError, TypeError) as error:
        endpoint.refuse()
        raise InferenceUnavailable(f"{endpoint.name} did not answer as expected ({type(error).__name__}).") from error


async def _first_of(tasks: Sequence[asyncio.Task[T]]) -> T:
    """The first result; when there is none, the first task's error."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is None:
                return task.result()
    return tasks[0].result()


async def _cancelled(tasks: Sequence[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def side_by_side(calls: Sequence[Coroutine[object, object, T]], *, at_once: int) -> list[T]:
    """All results in order, so many at a time; the first error cancels the rest."""
    slots = asyncio.Semaphore(at_once)

    async def one(call: Coroutine[object, object, T]) -> T:
        async with slots:
            return await call

    tasks = [asyncio.create_task(one(call)) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _cancelled(tasks)
        for call in calls:
            call.close()  # one that never got a slot
