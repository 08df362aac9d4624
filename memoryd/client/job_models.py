"""What the service answers about jobs: the service's own schemas, by shorter names."""

from typing import Literal

from memoryd.http.schemas import jobs as schemas

JobState = Literal["queued", "running", "paused", "succeeded", "partial", "failed", "cancelled"]
ItemState = Literal["queued", "running", "succeeded", "unchanged", "failed", "cancelled"]

Counters = schemas.CountersOut
Rates = schemas.RatesOut
Failure = schemas.FailureOut
Job = schemas.JobOut
JobPage = schemas.JobPage
JobItem = schemas.JobItemOut
JobItemPage = schemas.JobItemPage
DeadLetter = schemas.DeadLetterOut
DeadLetterPage = schemas.DeadLetterPage
Replayed = schemas.ReplayOut
