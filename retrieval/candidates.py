"""From the arms' lists of passages to one list of memories: the pure steps between searching and showing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from retrieval.fusion import (
    NEIGHBOUR_DECAY,
    RRF_K,
    Fused,
    convex_combination,
    propagate_to_followers,
    reciprocal_rank_fusion,
)
from retrieval.ports import ArmHit, Following, Item, Turn
from retrieval.situate import situated

ARM_DEPTH = 100
"""Hits of each arm that are fused: with 50, .004 nDCG@10 less on LoCoMo-dev; 200 adds nothing."""

_MAX_ARM_DEPTH = 16 * ARM_DEPTH

PREVIOUS_CHARACTERS = 200
"""Of the turn before a candidate, for its second reading: enough to say what is being talked about."""


Name = TypeVar("Name", bound=str)


class Fusion(StrEnum):
    """How the arms' lists become one."""

    CONVEX = "convex"
    RRF = "rrf"


@dataclass(slots=True)
class Found:
    """One arm's list, by memory: its best passage, with raw scores; ``own`` says which were not handed on.

    A memory is named by ``memory_id.int``: hashing a ``UUID`` is Python code, and fusing hashes each some twenty times.
    """

    scored: list[tuple[int, float]]
    pids: dict[int, int]
    own: frozenset[int]


async def distinct(find: Callable[[int], Awaitable[list[ArmHit]]], *, wanted: int) -> Found:
    """An arm's list, deeper when few long memories fill it with their passages and crowd the others out."""
    limit = ARM_DEPTH
    while True:
        hits = await find(limit)
        found = by_memory(hits)
        enough = min(ARM_DEPTH, 2 * wanted)
        if len(hits) < limit or len(found.scored) >= enough or limit >= _MAX_ARM_DEPTH:
            found.scored = found.scored[:ARM_DEPTH]
            return found
        limit *= 4


def by_memory(hits: Sequence[ArmHit]) -> Found:
    """The best passage of each memory, in the order of the arm."""
    pids: dict[int, int] = {}
    scored: list[tuple[int, float]] = []
    for hit in hits:
        key = hit.memory_id.int
        if key not in pids:
            pids[key] = hit.pid
            scored.append((key, hit.score))
    return Found(scored, pids, frozenset(pids))


def hand_on(found: Found, followers: Iterable[Following]) -> None:
    """Give the turns that follow a hit their share of its score."""
    by_pid = {pid: key for key, pid in found.pids.items()}
    next_turns: dict[int, list[int]] = {}
    for follower in sorted(followers, key=lambda f: (f.after_pid, f.distance)):
        next_turns.setdefault(by_pid[follower.after_pid], []).append(follower.memory_id.int)
        found.pids.setdefault(follower.memory_id.int, follower.pid)
    found.scored = propagate_to_followers(found.scored, next_turns, decay=NEIGHBOUR_DECAY)[:ARM_DEPTH]


def fuse(fusion: Fusion, found: Mapping[Name, Found]) -> list[Fused[int]]:
    """One list, best first."""
    if fusion is Fusion.RRF:
        return reciprocal_rank_fusion({str(arm): [key for key, _ in one.scored] for arm, one in found.items()})
    return convex_combination({str(arm): one.scored for arm, one in found.items()})


def full_score(fusion: Fusion, found: Mapping[Name, Found]) -> float:
    """What a memory that is first in every list has: the unit in which a boost is measured."""
    if fusion is Fusion.RRF:
        return max(1, sum(1 for one in found.values() if one.scored)) / (RRF_K + 1)
    return 1.0


def missing_from(fused: Iterable[Fused[int]], temporal: Found | None) -> list[Fused[int]]:
    """What only the temporal arm found, with a fused score of 0, so that «what happened in May» has answers."""
    if temporal is None:
        return []
    known = {one.key for one in fused}
    return [Fused(key, 0.0, {}, {}) for key, _ in temporal.scored if key not in known]


def passage_of(key: int, found: Iterable[Found]) -> int:
    """The passage that stands for a memory: the dense arm's where it has one (it read the meaning)."""
    return next(one.pids[key] for one in found if key in one.pids)


def readings(item: Item, before: Turn | None) -> tuple[str, ...]:
    """What the reranker reads: the passage, situated as it was when it was embedded; and again behind the turn before it."""
    start, end = item.span
    if item.citation is not None:
        return (item.citation.prefix + item.text[start:end],)
    text = situated(item.text[start:end], item.speaker, item.event_time)
    if before is None:
        return (text,)
    speaker = f"{before.speaker}: " if before.speaker else ""
    return (text, f"{speaker}{before.text[:PREVIOUS_CHARACTERS]} {text}")
