"""The thread that computes, and the one that has the next batch ready meanwhile. The event loop only posts to their inbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference.batches import Turns


class Runnable(Protocol):
    """What the thread needs of a batch."""

    def run(self) -> None:
        """Compute; never raises for what a model did."""

    def deliver(self) -> None:
        """Hand the results out."""


class Waiting(Protocol):
    """What the thread needs of a lane."""

    @property
    def waiting(self) -> bool:
        """True when there is a batch to cut."""

    def look_ahead(self) -> None:
        """Make the next batch ready."""

    def take(self) -> Runnable | None:
        """Cut the next batch; ``None`` when nobody wanted it after all."""

    def fail_all(self, error: InferenceError) -> None:
        """Fail every job that waits."""


Loaded = tuple[Sequence[tuple[Waiting, int]], Callable[[], None]]


class ComputeThread:
    """Runs ``load``, then batches until :meth:`stop`, then what releases the models.

    ``load`` gives the lanes by priority, each with its patience (see :class:`Turns`), and the releasing function.
    :meth:`post` and :meth:`stop` never block: the inbox is unbounded (admission bounds what is in it) and has no lock that
    Python code waits on. What was posted while a batch ran is seen before the next one is cut, so concurrent queries go
    together and none waits for company.

    A batch is cut, tokenised and padded by whichever thread has nothing better to do. While one runs, that is the second
    thread, which also deals out the results of the one before; when nothing runs, it is the compute thread itself, so that
    a question that comes alone waits for no other thread to wake. The lanes are touched under one lock, which is free
    while the model runs.
    """

    def __init__(
        self,
        *,
        name: str = "memoryd-inference",
        load: Callable[[], Loaded],
        on_failure: Callable[[Exception], None],
        on_end: Callable[[], None],
    ) -> None:
        """``on_failure`` gets the error of ``load``; ``on_end`` is called last, whatever happened."""
        self._load = load
        self._turns = Turns(())
        self._on_failure = on_failure
        self._on_end = on_end
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ahead: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._lanes: Sequence[Waiting] = ()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._helper = threading.Thread(target=self._help, name=f"{name}-ahead", daemon=True)

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, action: Callable[[], None]) -> None:
        """Have ``action`` run before the next batch is cut."""
        self._inbox.put(action)
        if self._busy:
            self._ahead.put(_nothing)

    def wake(self) -> None:
        """Look at the lanes, one of which was filled from elsewhere."""
        self.post(_nothing)

    def stop(self) -> None:
        """End after the batch that runs; what waits fails with :class:`InferenceUnavailable`."""
        self._inbox.put(None)

    def _main(self) -> None:
        try:
            lanes, release = self._load()
        except Exception as error:  # noqa: BLE001 - it is the caller's of start()
            self._on_failure(error)
            self._on_end()
            return
        self._lanes = [lane for lane, _ in lanes]
        self._turns = Turns([patience for _, patience in lanes])
        self._helper.start()
        try:
            self._compute()
        finally:
            self._ahead.put(None)
            self._helper.join()
            self._receive()  # late posts reach their lanes, to be failed there
            for lane in self._lanes:
                lane.fail_all(InferenceUnavailable("Inference has stopped."))
            release()
            self._on_end()

    def _compute(self) -> None:
        done: Runnable | None = None
        while True:
            with self._lock:
                self._receive()
                batch = None if self._stopping else self._next()
                self._busy = batch is not None
                if done is not None and batch is None:
                    done.deliver()
            if batch is not None:
                self._ahead.put(_nothing if done is None else done.deliver)
                batch.run()
            elif self._stopping:
                return
            else:
                action = self._inbox.get()
                with self._lock:
                    self._act(action)
            done = batch

    def _next(self) -> Runnable | None:
        while (turn := self._turns.next([lane.waiting for lane in self._lanes])) is not None:
            if (batch := self._lanes[turn].take()) is not None:
                return batch
        return None

    def _help(self) -> None:
        """The second thread. Should it die, so must the first: nobody else would deal out results."""
        try:
            while self._help_once():
                pass
        finally:
            self.stop()

    def _help_once(self) -> bool:
        tasks = [self._ahead.get(), *_all(self._ahead)]
        with self._lock:
            for task in tasks:
                if task is not None:
                    task()
            # When nothing runs, the compute thread sleeps on the inbox, and must find there what wakes it.
            if self._busy and None not in tasks:
                self._receive()
                for lane in self._lanes:
                    lane.look_ahead()
        return None not in tasks

    def _receive(self) -> None:
        """Run what was posted."""
        for action in _all(self._inbox):
            self._act(action)

    def _act(self, action: Callable[[], None] | None) -> None:
        if action is None:
            self._stopping = True
        else:
            action()


def _all(queue: SimpleQueue[Callable[[], None] | None]) -> list[Callable[[], None] | None]:
    """What is in the queue at present."""
    found = []
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found


def _nothing() -> None:
    """Wakes who waits for something to do."""
