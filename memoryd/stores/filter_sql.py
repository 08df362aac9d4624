"""The filters of a recall as SQL conditions on ``memory_revisions r`` and ``passages p``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from memoryd.stores.terms import metadata_term, topic_term
from retrieval.filters import Filters

_SIMPLE = (
    ("user_id", "r.user_id = %(user_id)s"),
    ("agent_id", "r.agent_id = %(agent_id)s"),
    ("session_id", "r.session_id = %(session_id)s"),
    ("min_confidence", "r.confidence >= %(min_confidence)s"),
    ("event_after", "r.event_time >= %(event_after)s"),
    ("event_before", "r.event_time < %(event_before)s"),
    ("created_after", "r.recorded_at >= %(created_after)s"),
    ("created_before", "r.recorded_at < %(created_before)s"),
)
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


def conditions(filters: Filters, spaces: Sequence[UUID]) -> Conditions:
    """Every condition of ``filters``, the time axes included."""
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
    _facets(filters, spaces, result)
    return result


def _time_axes(filters: Filters, result: Conditions) -> None:
    if not filters.time_travel:
        result.sql.append("r.live")
        return
    if filters.known_at is None:
        result.sql.append("r.retired_at IS NULL")
    else:
        result.sql.append("r.recorded_at <= %(known_at)s AND (r.retired_at IS NULL OR r.retired_at > %(known_at)s)")
        result.params["known_at"] = filters.known_at
    if filters.as_of is None:
        # What was superseded by then is history, unless the question is about a point in the world's time.
        result.sql.append("r.superseded_by IS NULL")
    else:
        result.sql.append(
            "coalesce(r.valid_from, r.event_time, '-infinity') <= %(as_of)s AND (r.valid_to IS NULL OR r.valid_to > %(as_of)s)"
        )
        result.params["as_of"] = filters.as_of


def _facets(filters: Filters, spaces: Sequence[UUID], result: Conditions) -> None:
    groups: list[list[int]] = []
    if filters.topics_any:
        groups.append([topic_term(space, topic) for space in spaces for topic in filters.topics_any])
    groups += [[topic_term(space, topic) for space in spaces] for topic in filters.topics_all]
    groups += [[metadata_term(space, key, value) for space in spaces] for key, value in filters.metadata]
    for number, terms in enumerate(groups):
        name = f"facet{number}"
        result.sql.append(_FACET.format(name=name))
        result.params[name] = terms
