"""What a command does to a job: pure, so that it can be read as a table."""

from dataclasses import dataclass

from memoryd.errors import WrongState
from memoryd.jobs.model import Command, Counters, JobState, Wish

_UNDER_WAY = {JobState.QUEUED, JobState.RUNNING}


@dataclass(frozen=True, slots=True)
class Change:
    """The state and wish after a command. ``requeue``: failed items are queued again; ``drop``: those left are cancelled."""

    state: JobState
    wish: Wish | None = None
    requeue: bool = False
    drop: bool = False


def decide(state: JobState, wish: Wish | None, command: Command, *, held: bool) -> Change | None:
    """What ``command`` makes of a job; ``None``: nothing, it is so already. ``held``: a worker has it, and is asked to stop;
    asked again when that worker is gone, it happens at once.

    Raises ``WrongState``.
    """
    if command is Command.CANCEL:
        if state is JobState.CANCELLED or (wish is Wish.CANCEL and held):
            return None
        if state in _UNDER_WAY and held:
            return Change(state, Wish.CANCEL)
        if not state.final:
            return Change(JobState.CANCELLED, drop=True)
    if command is Command.PAUSE and wish is not Wish.CANCEL:
        if state is JobState.PAUSED or (wish is Wish.PAUSE and held):
            return None
        if state in _UNDER_WAY:
            return Change(state, Wish.PAUSE) if held else Change(JobState.PAUSED)
    if command is Command.RESUME and wish is not Wish.CANCEL:
        if state is JobState.PAUSED:
            return Change(JobState.QUEUED)
        if state in _UNDER_WAY:
            return Change(state) if wish is Wish.PAUSE else None
    if command is Command.RETRY and state in {JobState.PARTIAL, JobState.FAILED}:
        return Change(JobState.QUEUED, requeue=True)
    now = "is being cancelled" if wish is Wish.CANCEL else f"is {state.value}"
    raise WrongState(f"the job {now}: it cannot {command.value}", state.value)


def ended(counters: Counters, *, failed: bool) -> JobState:
    """The final state of a job whose items are all through. ``failed``: its finishing failed."""
    if failed or (counters.items and counters.failed == counters.items):
        return JobState.FAILED
    return JobState.PARTIAL if counters.failed else JobState.SUCCEEDED
