"""The filters of a recall as SQL conditions on ``memory_revisions r`` and ``passages p``."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from memoryd.stores.terms import metadata_term, topic_term
from memoryd.threads import QUICK
from retrieval.filters import Filters
from retrieval.ports import Query

# A microsecond each: a few terms are hashed where they are needed, many of them once a question and beside the event loop.
_HASHED_IN_PLACE = 500

# The memory's, not the revision's: a correction does not make it new.
_CREATED = "EXISTS (SELECT FROM memories c WHERE c.tenant_id = %(tenant)s AND c.memory_id = r.memory_id AND {})"
_SIMPLE = (
    ("user_id", "r.user_id = %(user_id)s"),
    ("agent_id", "r.agent_id = %(agent_id)s"),
    ("session_id", "r.session_id = %(session_id)s"),
    ("min_confidence", "r.confidence >= %(min_confidence)s"),
    ("event_after", "r.event_time >= %(event_after)s"),
    ("event_before", "r.event_time < %(event_before)s"),
    ("created_after", _CREATED.format("c.created_at >= %(created_after)s")),
    ("created_before", _CREATED.format("c.created_at < %(created_before)s")),
)
# The revision that is current, that was at `known_at`, and one that says what was true at `as_of`.
CURRENT = "r.retired_at IS NULL"
KNOWN = "r.recorded_at <= %(known_at)s AND (r.retired_at IS NULL OR r.retired_at > %(known_at)s)"
VALID = "coalesce(r.valid_from, r.event_time, '-infinity') <= %(as_of)s AND (r.valid_to IS NULL OR r.valid_to > %(as_of)s)"
_FACET = "EXISTS (SELECT FROM postings f WHERE f.tenant_id = %(tenant)s AND f.term = ANY(%({name})s) AND f.pid = p.pid)"


@dataclass(slots=True)
class Conditions:
    """SQL conditions joined by AND, with their parameters."""

    sql: list[str] = field(default_factory=list)
    params: dict[str, object] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """`` AND a AND b``, or nothing: to be put behind the tenant and space conditions."""
        return "".join(f" AND {condition}" for condition in self.sql)


async def conditions_of(query: Query) -> Conditions:
    """Every condition of a question's filters, the time axes included."""
    filters, spaces = query.filters, query.spaces
    if _lookups(filters, spaces) <= _HASHED_IN_PLACE:
        return _conditions(filters, _facets(filters, spaces))
    if (filters, spaces) not in query.facets:
        query.facets[filters, spaces] = asyncio.ensure_future(QUICK.run(_facets, filters, spaces))
    # An arm that is out of time takes nothing from the others, which wait for the same.
    return _conditions(filters, await asyncio.shield(query.facets[filters, spaces]))


async def conditions(filters: Filters, spaces: Sequence[UUID]) -> Conditions:
    """As :func:`conditions_of`, where it is asked for once."""
    return await conditions_of(Query(tuple(spaces), filters))


def _conditions(filters: Filters, facets: Sequence[list[int]]) -> Conditions:
    result = Conditions()
    _time_axes(filters, result)
    for name, condition in _SIMPLE:
        value = getattr(filters, name)
        if value is not None:
            result.sql.append(condition)
            result.params[name] = value
    if filters.kinds:
        result.sql.append("r.kind = ANY(%(kinds)s)")
        result.params["kinds"] = list(filters.kinds)
    if filters.source_types:
        result.sql.append("r.source_type = ANY(%(source_types)s)")
        result.params["source_types"] = list(filters.source_types)
    for number, terms in enumerate(facets):
        name = f"facet{number}"
        result.sql.append(_FACET.format(name=name))
        result.params[name] = terms
    return result


def _time_axes(filters: Filters, result: Conditions) -> None:
    if not filters.time_travel:
        result.sql.append("r.live")
        return
    result.sql.append(CURRENT if filters.known_at is None else KNOWN)
    # What was superseded by then is history, unless the question is about a point in the world's time.
    result.sql.append("r.superseded_by IS NULL" if filters.as_of is None else VALID)
    result.params |= {"known_at": filters.known_at, "as_of": filters.as_of}


def _lookups(filters: Filters, spaces: Sequence[UUID]) -> int:
    return len(spaces) * (len(filters.topics_any) + len(filters.topics_all) + len(filters.metadata))


def _facets(filters: Filters, spaces: Sequence[UUID]) -> list[list[int]]:
    """The terms of the facets, in every space: of each list one has to be there."""
    groups: list[list[int]] = []
    if filters.topics_any:
        groups.append([topic_term(space, topic) for space in spaces for topic in filters.topics_any])
    groups += [[topic_term(space, topic) for space in spaces] for topic in filters.topics_all]
    groups += [[metadata_term(space, key, value) for space in spaces] for key, value in filters.metadata]
    return groups
