"""The use cases of jobs in one process, as the wiring hands them to an interface."""

from dataclasses import dataclass

from memoryd.jobs.events import JobEvents
from memoryd.jobs.service import Jobs


@dataclass(frozen=True, slots=True)
class JobServices:
    """Everything that REST needs of jobs."""

    use: Jobs
    events: JobEvents
