"""Whether a model computes at all: what tells an input that it fails on from a model that fails on everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from retrieval.errors import InferenceError

T = TypeVar("T")

log = logging.getLogger(__name__)

TEXT: Final = "probe"
PAIR: Final = (TEXT, TEXT)
_again_s = 5.0


class Soundness(Generic[T]):
    """Of the model of one lane. ``probe`` is an input that every such model computes: where a run has failed and this fails
    too, as after an error that a GPU does not recover from, it was not for what the inputs are.

    Set on the lane's compute thread, and read on any.
    """

    def __init__(self, probe: T, on_failure: Callable[[], None] = lambda: None) -> None:
        """``on_failure`` is called, on the compute thread, when the model begins to fail."""
        self.probe = probe
        self._on_failure = on_failure
        self._sound = True

    @property
    def sound(self) -> bool:
        """False from a failure on the probe to the next success."""
        return self._sound

    def succeeded(self) -> None:
        """It has computed something."""
        if not self._sound:
            log.warning("the model computes again")
        self._sound = True

    def failed(self, error: Exception) -> None:
        """It did not compute the probe, of which ``error`` may be told: it is nobody's text."""
        if self._sound:
            self._sound = False
            log.error("the model fails on everything: %s: %s", type(error).__name__, error)
            self._on_failure()


class Sound(Protocol):
    """What is known of a lane here."""

    @property
    def sound(self) -> bool:
        """False while its model fails on everything."""


async def tended(lanes: Sequence[tuple[Sound, Callable[[], Awaitable[object]]]]) -> None:
    """Ask those that are not sound again, each by its own call, until all are: a process that is not ready may be sent nothing
    that would show that it computes again."""
    while unsound := [ask for lane, ask in lanes if not lane.sound]:
        await asyncio.sleep(_again_s)
        for ask in unsound:
            try:
                await ask()
            except InferenceError:
                pass  # told when it began
            except Exception:
                # It is asked again all the same: nobody else would.
                log.exception("a model that fails could not be asked again")
