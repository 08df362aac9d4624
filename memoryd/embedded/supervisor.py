"""Starts children in order, keeps them alive, stops them in reverse order; says so in ``run/state.json``."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping

from memoryd.embedded import log, process, state
from memoryd.embedded.backoff import Backoff
from memoryd.embedded.child import Child
from memoryd.embedded.datadir import DataDir
from memoryd.embedded.spec import ChildSpec

_HOUSEKEEPING_S = 30.0


class Supervisor:
    """Of one data directory. Construct it in the event loop of the main thread, whose end is the children's end."""

    def __init__(
        self,
        data: DataDir,
        *,
        events: log.EventLog,
        url: str | None = None,
        ports: Mapping[str, int] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._data, self._events, self._url, self._ports = data, events, url, dict(ports or {})
        self._backoff = backoff or Backoff()
        self._children: dict[str, Child] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop, self._killing = asyncio.Event(), asyncio.Event()
        self._state, self._started_at = "starting", log.now()
        self._identity = process.identity(os.getpid())

    async def start(self, spec: ChildSpec) -> None:
        """Start a child and wait until it is ready; from then on it is kept alive.

        ``spec.depends_on`` names children already started: a restart waits until they are ready again.
        Raises :class:`~memoryd.embedded.errors.ChildFailed` or what ``spec.prepare`` raised when it never becomes ready.
        """
        child = Child(
            spec,
            output=self._data.logs / f"{spec.name}.log",
            events=self._events,
            changed=self._write_state,
            killing=self._killing,
            backoff=self._backoff,
        )
        dependencies = [self._children[name] for name in spec.depends_on]
        self._children[spec.name] = child
        task = asyncio.create_task(child.run(dependencies), name=f"child {spec.name}")
        task.add_done_callback(self._ended)
        self._tasks[spec.name] = task
        # Shielded: a cancelled caller would cancel the future too, and the child goes by it.
        await asyncio.shield(child.first_ready)

    def stop(self) -> None:
        """Begin an orderly stop, as SIGTERM does; called again, kill at once."""
        if self._stop.is_set():
            self._events.write("killing")
            self._killing.set()
        self._stop.set()

    async def run(self, compose: Callable[[], Awaitable[None]]) -> None:
        """Run ``compose``, which starts the children, then supervise until a signal or :meth:`stop`; then stop them all.

        A signal while composing cancels it. Raises what ``compose`` raised, once everything is stopped.
        """
        loop = asyncio.get_running_loop()
        # Under nohup a hang-up is ignored, and stays so.
        hang_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
        signals = (signal.SIGINT, signal.SIGTERM, *hang_up)
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        housekeeping = asyncio.create_task(self._keep_house())
        self._write_state()
        try:
            await self._until_stopped(compose)
        finally:
            housekeeping.cancel()
            await self._stop_children()
            self._enter("stopped")
            for number in signals:
                loop.remove_signal_handler(number)

    async def _until_stopped(self, compose: Callable[[], Awaitable[None]]) -> None:
        composing = asyncio.ensure_future(compose())
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({composing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if composing.done() and not composing.cancelled():
                composing.result()
                self._enter("running")
                await stopped
        finally:
            stopped.cancel()
            composing.cancel()
            if not composing.done():
                await asyncio.wait({composing})

    async def _stop_children(self) -> None:
        self._stop.set()
        self._enter("stopping")
        for name, child in reversed(self._children.items()):
            child.stopping.set()
            if child.spec.door is not None:
                child.spec.door.open("stopping")
            await asyncio.wait({self._tasks[name]})
            self._events.write("child_stopped", {"child": name})
        for task in self._tasks.values():
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _ended(self, task: "asyncio.Task[None]") -> None:
        # A supervising task ends only when told to, or with a defect of ours; then nothing is kept alive any more.
        if not task.cancelled() and task.exception() is not None:
            self._events.write("supervision_failed", {"task": task.get_name(), "error": repr(task.exception())})
            self._stop.set()

    async def _keep_house(self) -> None:
        dead: frozenset[int] = frozenset()
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                dead = await asyncio.to_thread(process.reap_strangers, dead)
                for name in list(self._children):
                    await asyncio.to_thread(log.cap, self._data.logs / f"{name}.log")
            except OSError as error:  # a full disk must not end it: when there is room again, logs are capped again
                self._events.write("housekeeping_failed", {"error": error.strerror})

    def _enter(self, entered: str) -> None:
        self._state = entered
        self._write_state()

    def _write_state(self) -> None:
        children = {name: child.state for name, child in self._children.items()}
        snapshot = state.StackState(os.getpid(), self._identity, self._state, self._url, self._started_at, self._ports, children)
        try:
            state.write(self._data.run / "state.json", snapshot)
        except OSError as error:  # a full disk must not end supervision
            self._events.write("state_not_written", {"error": error.strerror})
