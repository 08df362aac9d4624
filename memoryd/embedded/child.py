"""One supervised process, life after life."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from pathlib import Path

from memoryd.embedded import log, process
from memoryd.embedded.backoff import Backoff
from memoryd.embedded.errors import ChildFailed, EmbeddedError
from memoryd.embedded.pipe import ReadyPipe
from memoryd.embedded.readiness import LISTEN_FD, READY_FD
from memoryd.embedded.spec import ChildSpec, trampoline
from memoryd.embedded.state import ChildState

_FIRST_ATTEMPTS = 3
_PROBE_INTERVAL_S = 0.03


class Phase(StrEnum):
    """Where a child is in its life."""

    WAITING = "waiting"  # for what it depends on, or for its preparation
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # said that it accepts no more; still lives
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Child:
    """Keeps one process alive until the supervisor stops. ``killing`` set: no more patience."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        output: Path,
        events: log.EventLog,
        changed: Callable[[], None],
        killing: asyncio.Event,
        backoff: Backoff,
    ) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()
        self.first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._output, self._events, self._changed = output, events, changed
        self._killing, self._backoff = killing, backoff
        self._phase, self._since = Phase.WAITING, log.now()
        self._pid: int | None = None
        self._identity: str | None = None
        self._restarts = 0
        self._failures = 0
        self._gave_up = False

    @property
    def state(self) -> ChildState:
        """For ``run/state.json``."""
        step = self.spec.stop[0]
        return ChildState(self._phase, self._pid, self._identity, self._restarts, self._since, step.signal, step.patience_s)

    async def run(self, dependencies: Sequence["Child"]) -> None:
        """One life after another until ``stopping``, or until :data:`_FIRST_ATTEMPTS` lives were never ready."""
        pause: float | None = None
        try:
            while not self.stopping.is_set():
                for dependency in dependencies:
                    await self._first_of(dependency.ready.wait())
                lived_s = await self._attempt()
                if self.stopping.is_set() or self._gave_up:
                    return
                pause = self._backoff.after(pause, lived_s=lived_s)
                self._enter(Phase.BACKOFF)
                self._events.write("child_restarts", {"child": self.spec.name, "pause_s": pause})
                await self._first_of(asyncio.sleep(pause))
                self._restarts += 1
        finally:
            self._enter(Phase.STOPPED)
            if not self.first_ready.done():
                self.first_ready.cancel()

    async def _attempt(self) -> float:
        """One life; how many seconds of it the child was ready."""
        spec = self.spec
        try:
            self._enter(Phase.WAITING)
            await asyncio.to_thread(self._prepare)
            return 0.0 if self.stopping.is_set() else await self._live()
        except (EmbeddedError, OSError) as error:
            self._events.write("child_cannot_start", {"child": spec.name, "error": str(error)})
            self._give_up(error if isinstance(error, EmbeddedError) else ChildFailed(f"{spec.name} cannot start: {error}"))
            return 0.0

    def _prepare(self) -> None:
        log.cap(self._output)
        if self.spec.prepare is not None:
            self.spec.prepare()

    async def _live(self) -> float:
        with ReadyPipe() as pipe:
            running = await self._spawn(pipe)
            ended = asyncio.ensure_future(running.wait())
            ready_at: float | None = None
            try:
                if await self._becomes_ready(pipe, ended):
                    ready_at = time.monotonic()
                    self._enter(Phase.READY)
                    if not self.first_ready.done():
                        self.first_ready.set_result(None)
                    drained = [pipe.closed.wait()] if self.spec.probe is None else []
                    await self._first_of(ended, *drained)
            finally:
                await self._end(running, ended, drained=pipe.closed.is_set() and ready_at is not None)
        lived_s = 0.0 if ready_at is None else time.monotonic() - ready_at
        if not self.stopping.is_set():
            self._note_death(running.returncode, lived_s)
        return lived_s

    async def _spawn(self, pipe: ReadyPipe) -> asyncio.subprocess.Process:
        spec, env, passed = self.spec, dict(self.spec.env), []
        if spec.door is not None:
            passed.append(spec.door.listener.fileno())
            env[LISTEN_FD] = str(spec.door.listener.fileno())
        if spec.probe is None:
            passed.append(pipe.write_end)
            env[READY_FD] = str(pipe.write_end)
        command = trampoline(spec.argv, account=spec.account, folder=spec.folder, orphan_signal=spec.orphan_signal)
        # Straight into the file: the child neither waits for the supervisor to read, nor dies of SIGPIPE with it.
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            running = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                pass_fds=passed,
                start_new_session=True,
            )
        finally:
            os.close(output)
        pipe.watch()
        self._pid, self._identity = running.pid, process.identity(running.pid)
        self._enter(Phase.STARTING)
        self._events.write("child_started", {"child": spec.name, "pid": running.pid})
        return running

    async def _becomes_ready(self, pipe: ReadyPipe, ended: asyncio.Future[int]) -> bool:
        asked = pipe.ready.wait() if self.spec.probe is None else self._probe_until_true(self.spec.probe)
        ready = asyncio.ensure_future(asked)
        await self._first_of(ended, ready, patience_s=self.spec.start_timeout_s)
        if ready.done() and not self.stopping.is_set() and not ended.done():
            ready.result()  # a probe that cannot even be asked is a child that cannot start
            return True
        ready.cancel()
        if not ended.done() and not self.stopping.is_set():
            self._events.write("child_not_ready", {"child": self.spec.name, "waited_s": self.spec.start_timeout_s})
        return False

    @staticmethod
    async def _probe_until_true(probe: Callable[[], Awaitable[bool]]) -> None:
        while True:
            if await probe():
                return
            await asyncio.sleep(_PROBE_INTERVAL_S)

    async def _end(self, running: asyncio.subprocess.Process, ended: asyncio.Future[int], *, drained: bool) -> None:
        """See the process out: it has exited, or drains, or must stop. Leaves nothing of its process group."""
        steps = self.spec.stop
        if drained and not self.stopping.is_set() and not ended.done():
            self._enter(Phase.DRAINING)
            await self._first_of(ended, patience_s=sum(step.patience_s for step in steps))
        if not ended.done():
            self._enter(Phase.STOPPING)
        for step in steps:
            if ended.done() or self._killing.is_set():
                break
            with contextlib.suppress(ProcessLookupError):
                running.send_signal(step.signal)
            await _first_of(ended, self._killing.wait(), patience_s=step.patience_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(running.pid, signal.SIGKILL)
        await ended
        self._pid = self._identity = None

    def _note_death(self, returncode: int | None, lived_s: float) -> None:
        name = self.spec.name
        self._events.write("child_died", {"child": name, "status": returncode, "ready_s": round(lived_s, 3)})
        self._failures += 1
        if self._failures >= _FIRST_ATTEMPTS:
            said = log.tail(self._output)
            self._give_up(
                ChildFailed(f"{name} did not become ready (exit status {returncode}); {self._output} ends with:\n{said}")
            )

    def _give_up(self, error: EmbeddedError) -> None:
        # Only at the first start, where somebody waits for the answer; later a child is restarted for ever.
        if not self.first_ready.done():
            self._gave_up = True
            self.first_ready.set_exception(error)

    async def _first_of(self, *waits: Awaitable[object], patience_s: float | None = None) -> None:
        """Until one of them is done, or the child is to stop."""
        await _first_of(*waits, self.stopping.wait(), patience_s=patience_s)

    def _enter(self, phase: Phase) -> None:
        self._phase, self._since = phase, log.now()
        if phase is Phase.READY:
            self.ready.set()
        else:
            self.ready.clear()
        if self.spec.door is not None:
            if phase is Phase.READY:
                self.spec.door.close()
            else:
                self.spec.door.open("stopping" if self.stopping.is_set() else phase)
        self._changed()


async def _first_of(*waits: Awaitable[object], patience_s: float | None) -> None:
    """Until one of them is done. Futures that were passed in are left running; coroutines are cancelled."""
    futures: dict[asyncio.Future[object], Awaitable[object]] = {asyncio.ensure_future(wait): wait for wait in waits}
    try:
        await asyncio.wait(set(futures), timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future, wait in futures.items():
            if future is not wait:
                future.cancel()
