"""Summaries of measured durations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Summary:
    """Percentiles of a sample, in the unit of the sample (milliseconds throughout the harness)."""

    count: int
    p50: float
    p95: float
    p99: float


def summarise(values: Sequence[float]) -> Summary:
    """Linear-interpolation percentiles. Raises ``ValueError`` for an empty sample."""
    if not values:
        raise ValueError("nothing was measured")
    p50, p95, p99 = np.percentile(np.asarray(values, dtype=np.float64), [50, 95, 99])
    return Summary(len(values), float(p50), float(p95), float(p99))
