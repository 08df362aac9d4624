"""A verification that was asked for and takes longer than a request: noted in the report, for the worker to do. Pure."""

from collections.abc import Mapping
from typing import Final

from pydantic import TypeAdapter

from memoryd.generations.ports import Asked, Report
from retrieval.filters import JsonValue

OWED: Final = "owed"
"""What a report has beside its checks until it is made anew; it does not pass until then."""

_ASKED = TypeAdapter(Asked)


def owing(asked: Asked | None) -> Report:
    """The note. Without questions it leaves those of a verification that is owed already."""
    return {} if asked is None else {OWED: _ASKED.dump_python(asked, mode="json")}


def asked_for(owed: JsonValue) -> Asked | None:
    """The questions that it is to be done with."""
    return _ASKED.validate_python(owed) if owed else None


def shown(report: Mapping[str, JsonValue] | None) -> Report | None:
    """What was found, without the note; ``None`` before anything was."""
    found = {name: value for name, value in (report or {}).items() if name != OWED}
    return found if "checks" in found else None


def settled(made: Report, stored: Mapping[str, JsonValue] | None, answers: JsonValue) -> Report:
    """A new report as it is kept. ``answers``: the note that it was made for; one that came meanwhile stays.

    The nDCG of the report before stays, and with it its verdict, until it is measured again.
    """
    stored = stored or {}
    before, checks = stored.get("checks"), made["checks"]
    if isinstance(before, Mapping) and isinstance(checks, Mapping) and "ndcg" in before and "ndcg" not in checks:
        ndcg = before["ndcg"]
        passed = isinstance(ndcg, Mapping) and ndcg["passed"] is True
        made = made | {"passed": made["passed"] is True and passed, "checks": {**checks, "ndcg": ndcg}}
    if OWED in stored and stored[OWED] != answers:
        made = made | {"passed": False, OWED: stored[OWED]}
    return made
