"""The times a question names, as intervals, and what they and recency say for a candidate. Pure: no clock, no I/O.

>>> from datetime import UTC, datetime
>>> [found] = find_intervals("What did we decide last week?", datetime(2023, 5, 17, 9, tzinfo=UTC))
>>> found.phrase, found.start.date().isoformat(), found.end.date().isoformat()
('last week', '2023-05-08', '2023-05-15')
"""

from retrieval.temporal.boost import RecencyPrior, temporal_boost
from retrieval.temporal.interval import Interval, Precision, TemporalReport
from retrieval.temporal.reading import MAX_INTERVALS, find_intervals, read_times
from retrieval.temporal.recency import wants_recent

__all__ = [
    "MAX_INTERVALS",
    "Interval",
    "Precision",
    "RecencyPrior",
    "TemporalReport",
    "find_intervals",
    "read_times",
    "temporal_boost",
    "wants_recent",
]
