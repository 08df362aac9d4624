"""arq's worker, made to outlive its server."""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Any

from arq.connections import ArqRedis, create_pool
from arq.typing import StartupShutdown
from arq.worker import Worker

from memoryd.jobs.courier import ALIVE, NEWS

log = logging.getLogger(__name__)

_AGAIN_S = 1.0
# A server that is frozen, or cut off, answers nothing: without this a command would wait for ever.
_ANSWER_S = 10.0
_BEAT_S, _ALIVE_S = 15.0, 60
# The server's clock counts in milliseconds, and zero of them is for ever.
_LEAST_S = 0.002


class LastingWorker(Worker):
    """Where arq ends when its server goes away, or does not answer, this begins anew once it is back.

    What ``on_startup`` opened stays open meanwhile: models stay loaded, and jobs that are under way go on. Rounds that were
    under way are stopped, and begin again at once when the server is back. A start that fails is told, as before. A server that
    answers and takes nothing, for its memory is full, holds up no rounds: they begin without it.
    """

    _started = _refused = False
    _beat_at = -_BEAT_S

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._rounds: set[asyncio.Future[Any]] = set()

    async def main(self) -> None:
        """Serve until cancelled."""
        self.on_startup = self._once(self.on_startup)
        while True:
            try:
                if self._pool is None:
                    self._pool = await self._connected()
                await super().main()
            except Exception as error:
                if not self._started:
                    raise
                log.warning("the worker's queue is lost (%s): trying again", type(error).__name__)
                await self._forget()
                await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Stop the rounds and close what ``on_startup`` opened, also where the server is gone."""
        # arq would wait for them and raise what ended them: that they were cancelled.
        await self._stop_rounds()
        try:
            await super().close()
        except Exception as error:  # noqa: BLE001 - nothing may keep services from being closed
            log.warning("the worker's queue was left as it is: %s", type(error).__name__)
            await self._forget()
        if self.on_shutdown is not None:
            await self.on_shutdown(self.ctx)

    async def _poll_iteration(self) -> None:
        """In place of arq's pause between two looks at the queue, which is as long as a short job takes: it ends with news."""
        now = asyncio.get_running_loop().time
        end = now() + self.poll_delay_s
        await super()._poll_iteration()
        while (left := end - now()) >= _LEAST_S and await self._news(left):
            await super()._poll_iteration()

    async def _news(self, within_s: float) -> bool:
        """Something is to be looked at; false after so long without. Who could take nothing leaves news to others."""
        if self.job_counter < self.max_jobs:
            try:
                # The method that redis-py has for it is typed for whole seconds.
                return await self.pool.execute_command("BLPOP", NEWS, within_s) is not None  # type: ignore[no-untyped-call]
            except Exception as error:  # noqa: BLE001 - raised again where it is not what it refuses
                await self.pool.ping()  # one that is away is away; one that does not allow it has no news
                log.debug("no news of the worker's queue: %s", type(error).__name__)
        await asyncio.sleep(within_s)
        return False

    async def record_health(self) -> None:
        """In place of arq's, whose key goes with the first worker that ends."""
        now = asyncio.get_running_loop().time()
        if now - self._beat_at >= _BEAT_S:
            self._beat_at = now
            try:
                await self.pool.set(ALIVE, b"1", ex=_ALIVE_S)
            except Exception:  # noqa: BLE001 - raised again where it is not what it refuses
                await self.pool.ping()  # one that is away is away; one that takes nothing is none to begin anew for
                log.warning("the worker's queue does not take that there is a worker")

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Have the server carry the rounds that are due, or begin them here where it takes nothing."""
        end = n + timedelta(seconds=delay * num_windows)
        due = [one for one in self.cron_jobs if (one.run_at_startup if one.next_run is None else one.next_run < end)]
        try:
            await super().run_cron(n, delay, num_windows)
        except Exception as error:  # noqa: BLE001 - as above
            await self.pool.ping()
            if not self._refused:
                log.warning("the worker's queue takes nothing (%s): rounds go on without it", type(error).__name__)
            self._refused = True
            for one in due:
                round_ = asyncio.ensure_future(one.coroutine(self.ctx))
                self._rounds.add(round_)
                round_.add_done_callback(self._ended)
        else:
            self._refused = self._refused and not due

    def _ended(self, round_: asyncio.Future[Any]) -> None:
        self._rounds.discard(round_)
        if not round_.cancelled() and (error := round_.exception()) is not None:
            log.error("a round of the worker failed", exc_info=error)

    def _once(self, opening: StartupShutdown | None) -> StartupShutdown:
        async def startup(ctx: dict[Any, Any]) -> None:
            if not self._started and opening is not None:
                await opening(ctx)
            self._started = True

        return startup

    async def _connected(self) -> ArqRedis:
        pool = await create_pool(
            self.redis_settings,
            job_serializer=self.job_serializer,
            job_deserializer=self.job_deserializer,
            default_queue_name=self.queue_name,
            expires_extra_ms=self.expires_extra_ms,
        )
        pool.connection_pool.connection_kwargs["socket_timeout"] = _ANSWER_S
        await pool.connection_pool.disconnect()  # the one that it was made with has no limit
        return pool

    async def _stop_rounds(self) -> None:
        rounds = [*self.tasks.values(), *self._rounds]
        for one in rounds:
            one.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)
        self.tasks.clear()

    async def _forget(self) -> None:
        """As if it had just been made: a broken connection leaves places taken that nobody gives back."""
        await self._stop_rounds()
        self.sem, self.job_counter = asyncio.BoundedSemaphore(self.max_jobs + 1), 0
        for cron in self.cron_jobs:
            cron.next_run = None
        self._beat_at = -_BEAT_S
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose(close_connection_pool=True)
