"""May this generation serve? Pure: figures in, a report with a verdict on each out.

What each figure means and how its threshold was chosen is in docs/generations.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memoryd.generations.ports import Counted, Report
from retrieval.filters import JsonValue

NEIGHBOURS = 10
"""Hits that overlap and nDCG look at."""

SHOWN = 10
"""So many items, and ids, at most are named in a report."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a generation must reach.

    ``match``: of the sampled items, the share whose vector is that of their text (cosine of at least ``cosine``: stored vectors
    are halves of the precision, which costs .0001). ``overlap``: of the ten nearest that the old generation finds, the share
    that the new one finds too; two good models share .3 to .6, two orders that have nothing to do with each other almost nothing.
    ``ndcg_loss``: by so much at most it may find what was labelled less well.
    """

    cosine: float = 0.99
    match: float = 0.99
    overlap: float = 0.15
    ndcg_loss: float = 0.05


DEFAULT = Thresholds()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What two generations find for one question, best first."""

    old: Sequence[int]
    new: Sequence[int]


@dataclass(frozen=True, slots=True)
class Judged:
    """What two generations find for a question with known answers: names, best first."""

    relevant: frozenset[str]
    old: Sequence[str]
    new: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Of one question the answers that the tenant does not have; ``whole``: it has none of them."""

    names: Sequence[str]
    whole: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured. ``cosines``: of each sampled item's stored vector with the one that its text has now.

    ``unknown``: of questions with known answers those that could not be judged by all of them. ``cut``: how many of the sampled
    items are longer than the model reads. ``lacking``: some items without a vector.
    """

    counted: Sequence[Counted]
    cosines: Sequence[float]
    neighbours: Sequence[Neighbours]
    judged: Sequence[Judged]
    unknown: Sequence[Unknown] = ()
    cut: int = 0
    lacking: Sequence[str] = ()


def report(figures: Figures, thresholds: Thresholds = DEFAULT) -> Report:
    """Each check with its figure, its threshold and whether it passed; and whether all did.

    A check without anything to look at passes and says so (``of`` is 0): an empty installation has nothing to lose.
    """
    checks: dict[str, JsonValue] = {
        "counts": _counts(figures),
        "hashes": _hashes(figures.counted),
        "self_match": _self_match(figures.cosines, thresholds),
        "overlap": _overlap(figures.neighbours, thresholds),
    }
    if figures.judged or figures.unknown:
        checks["ndcg"] = _ndcg(figures, thresholds)
    passed = all(isinstance(one, Mapping) and one["passed"] for one in checks.values())
    return {"passed": passed, "checks": checks, "longer_than_the_model_reads": figures.cut}


def lacks(made: Report) -> bool:
    """True when a report counts items without a vector."""
    checks = made["checks"]
    counts = checks["counts"] if isinstance(checks, Mapping) else None
    return isinstance(counts, Mapping) and counts["passed"] is False


def ndcg(found: Sequence[str], relevant: frozenset[str], depth: int = NEIGHBOURS) -> float:
    """Normalised discounted cumulative gain with binary relevance (Järvelin and Kekäläinen, 2002). A name counts once."""
    distinct = list(dict.fromkeys(found))[:depth]
    gain = sum(1 / math.log2(place + 2) for place, name in enumerate(distinct) if name in relevant)
    best = sum(1 / math.log2(place + 2) for place in range(min(depth, len(relevant))))
    return gain / best if best else 0.0


def _counts(figures: Figures) -> Report:
    counted = figures.counted
    wrong = [one for one in counted if one.items != one.vectors]
    found: Report = {
        "passed": not wrong,
        "of": sum(one.items for one in counted),
        "vectors": sum(one.vectors for one in counted),
        "tenants_that_differ": len(wrong),
    }
    return found | {"lacking": ", ".join(figures.lacking)} if figures.lacking else found


def _hashes(counted: Sequence[Counted]) -> Report:
    wrong = [one for one in counted if one.items_digest != one.vectors_digest]
    return {"passed": not wrong, "of": len(counted), "tenants_that_differ": len(wrong)}


def _self_match(cosines: Sequence[float], thresholds: Thresholds) -> Report:
    matched = sum(one >= thresholds.cosine for one in cosines)
    share = matched / len(cosines) if cosines else 1.0
    return {
        "passed": share >= thresholds.match,
        "of": len(cosines),
        "share": round(share, 4),
        "least_cosine": round(min(cosines), 4) if cosines else None,
        "threshold": thresholds.match,
    }


def _overlap(neighbours: Sequence[Neighbours], thresholds: Thresholds) -> Report:
    shares = [len(set(one.old) & set(one.new)) / len(one.old) for one in neighbours if one.old]
    mean = sum(shares) / len(shares) if shares else 1.0
    return {
        "passed": mean >= thresholds.overlap,
        "of": len(shares),
        "share": round(mean, 4),
        "threshold": thresholds.overlap,
    }


def _ndcg(figures: Figures, thresholds: Thresholds) -> Report:
    """It fails where it cannot be told: a question none of whose answers is there is more likely a list of wrong ids."""
    judged, lost = figures.judged, sum(one.whole for one in figures.unknown)
    old = sum(ndcg(one.old, one.relevant) for one in judged) / max(1, len(judged))
    new = sum(ndcg(one.new, one.relevant) for one in judged) / max(1, len(judged))
    found: Report = {
        "passed": not lost and new >= old - thresholds.ndcg_loss,
        "of": len(judged),
        "old": round(old, 4),
        "new": round(new, 4),
        "threshold": round(old - thresholds.ndcg_loss, 4),
    }
    if figures.unknown:
        names = list(dict.fromkeys(name for one in figures.unknown for name in one.names))
        found |= {"questions_without_an_answer": lost, "unknown_answers": len(names), "among_them": ", ".join(names[:SHOWN])}
    return found
