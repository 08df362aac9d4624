"""The one thread that computes. It owns models and lanes; the event loop only posts to its inbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from retrieval.errors import InferenceError, InferenceUnavailable
from retrieval.inference.batches import Turns


class Waiting(Protocol):
    """What the thread needs of a lane."""

    @property
    def waiting(self) -> bool:
        """True when there is a batch to cut."""

    def step(self) -> None:
        """Run one batch; never raises for what a model did."""

    def fail_all(self, error: InferenceError) -> None:
        """Fail every job that waits."""


class ComputeThread:
    """Runs ``load``, then batches until :meth:`stop`, then what releases the models.

    ``load`` gives the lanes by priority and the releasing function. :meth:`post` and :meth:`stop` never block: the
    inbox is unbounded (admission bounds what is in it) and has no lock that Python code waits on. What was posted
    while a batch ran is seen before the next one is cut, so concurrent queries go together and none waits for company.
    """

    def __init__(
        self,
        *,
        load: Callable[[], tuple[Sequence[Waiting], Callable[[], None]]],
        turns: Turns,
        on_failure: Callable[[Exception], None],
        on_end: Callable[[], None],
    ) -> None:
        """``on_failure`` gets the error of ``load``; ``on_end`` is called last, whatever happened."""
        self._load = load
        self._turns = turns
        self._on_failure = on_failure
        self._on_end = on_end
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="memoryd-inference", daemon=True)

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, action: Callable[[], None]) -> None:
        """Have ``action`` run on the thread before the next batch is cut."""
        self._inbox.put(action)

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
        try:
            while self._receive(block=not any(lane.waiting for lane in lanes)):
                turn = self._turns.next([lane.waiting for lane in lanes])
                if turn is not None:
                    lanes[turn].step()
        finally:
            self._drain()
            for lane in lanes:
                lane.fail_all(InferenceUnavailable("Inference has stopped."))
            release()
            self._on_end()

    def _receive(self, *, block: bool) -> bool:
        """Run what was posted; False when it is time to end."""
        try:
            action = self._inbox.get(block=block)
            while action is not None:
                action()
                action = self._inbox.get_nowait()
        except Empty:
            return True
        return False

    def _drain(self) -> None:
        """Let late posts reach their lanes, to be failed there."""
        try:
            while True:
                action = self._inbox.get_nowait()
                if action is not None:
                    action()
        except Empty:
            return
