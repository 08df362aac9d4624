"""Which rows of a knowledge base a reader with a pinned version may see, as SQL.

Every row carries the half-open interval of the versions that it belongs to. A reader's number stays the same for its whole
request, so whatever is published or rolled back meanwhile, it reads one version.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from memoryd.stores.arrays import int8s, uuids
from retrieval.ports import PinnedSource

VISIBLE = "{row}.from_seq <= k.seq AND ({row}.to_seq IS NULL OR {row}.to_seq > k.seq)"
PINS = "unnest(%(kbs)s::uuid[], %(seqs)s::bigint[]) AS k(kb_id, seq)"


@dataclass(frozen=True, slots=True)
class Pinned:
    """Parameters for :data:`PINS`, and the condition on ``k`` and ``kb_documents d`` that the filters make (``None``: none)."""

    params: dict[str, object]
    where: str | None


def pinned(pins: Sequence[PinnedSource]) -> Pinned:
    """``pins`` are of different knowledge bases."""
    params: dict[str, object] = {"kbs": uuids([pin.kb_id for pin in pins]), "seqs": int8s([pin.seq for pin in pins])}
    if not any(pin.metadata or pin.documents for pin in pins):
        return Pinned(params, None)
    each = []
    for number, pin in enumerate(pins):
        conditions = [f"k.kb_id = %(kb{number})s"]
        params[f"kb{number}"] = pin.kb_id
        if pin.metadata:
            # Containment of a scalar in an object is equality: 1 and 1.0 are one value, 1 and true two.
            conditions.append(f"d.metadata @> %(metadata{number})s")
            params[f"metadata{number}"] = Jsonb(dict(pin.metadata))
        if pin.documents:
            conditions.append(f"d.document_id = ANY(%(documents{number})s)")
            params[f"documents{number}"] = list(pin.documents)
        each.append(" AND ".join(conditions))
    return Pinned(params, f"({' OR '.join(each)})")


def visible(row: str) -> str:
    """The condition that a row of table alias ``row`` is of the version that ``k`` pins."""
    return VISIBLE.format(row=row)
