"""What a writer could not embed for: noted in its own transaction, for the worker to find."""

from collections.abc import Collection, Mapping
from uuid import UUID

from memoryd.errors import GenerationsChanged
from memoryd.generations.catalogue import Catalogue
from memoryd.generations.ports import Missing
from memoryd.stores.trips import Statement

_NOTE = """
ON CONFLICT (tenant_id, generation) DO UPDATE SET misses = generation_gaps.misses + 1
"""
_GAPS = f"""
INSERT INTO generation_gaps (tenant_id, generation)
SELECT %(tenant)s, g FROM unnest(%(generations)s::int[]) AS g ORDER BY g {_NOTE}
"""
_NOT_COPIED = f"""
INSERT INTO generation_gaps (tenant_id, generation)
SELECT %(tenant)s, g.generation FROM unnest(%(generations)s::int[]) AS g(generation)
WHERE EXISTS (
    SELECT FROM {{items}}
    WHERE i.tenant_id = %(tenant)s AND NOT EXISTS (
        SELECT FROM {{vectors}} v WHERE v.tenant_id = %(tenant)s AND v.generation = g.generation AND v.pid = i.pid))
ORDER BY g.generation {_NOTE}
"""
_PASSAGES = _NOT_COPIED.format(
    items="(SELECT * FROM passages WHERE memory_id = %(memory)s AND revision = %(revision)s) i", vectors="embeddings"
)
_CHUNKS = _NOT_COPIED.format(
    items="(SELECT * FROM kb_chunks WHERE document_pid = ANY(%(documents)s::bigint[])) i", vectors="kb_vectors"
)


def reached(catalogue: Catalogue, kb_id: UUID | None, given: Collection[int], missing: Missing) -> tuple[list[int], list[int]]:
    """The generations to write to, of which there are vectors, and those that have to do without for now.

    Raises :class:`GenerationsChanged` when one was not known to whoever embedded, or serves.
    """
    covering = catalogue.covering(kb_id)
    serving = catalogue.serving(kb_id).number
    without = [one for one in covering if one.number not in given]
    if any(one.number == serving or not missing(one) for one in without):
        raise GenerationsChanged("another embedding model was put beside the others just now; send the request again")
    return [one.number for one in covering if one.number in given], [one.number for one in without]


def gaps(tenant_id: UUID, generations: Collection[int]) -> list[Statement]:
    """These generations have no vectors of what the transaction writes."""
    return [(_GAPS, {"tenant": tenant_id, "generations": sorted(generations)})] if generations else []


def uncopied_passages(tenant_id: UUID, generations: Collection[int], memory_id: UUID, revision: int) -> Statement:
    """Those of ``generations`` that a passage of this revision has no vector in, since what it was copied from had none."""
    params: Mapping[str, object] = {
        "tenant": tenant_id,
        "generations": sorted(generations),
        "memory": memory_id,
        "revision": revision,
    }
    return _PASSAGES, params


def uncopied_chunks(tenant_id: UUID, generations: Collection[int], documents: Collection[int]) -> Statement:
    """The same of the chunks of these documents."""
    return _CHUNKS, {"tenant": tenant_id, "generations": sorted(generations), "documents": list(documents)}
