"""``/v1/generations``: changing the embedding model of an installation (operator's key), a tenant or a knowledge base."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Security

from memoryd.generations.model import Actor, Registered, ScopeKind
from memoryd.generations.owed import shown
from memoryd.generations.ports import Labelled
from memoryd.generations.service import Generations
from memoryd.http.admin import Cursor, Limit
from memoryd.http.caller import API_KEY_HEADER, BEARER, Once, Uses
from memoryd.http.cursors import to_cursor, whole
from memoryd.http.problems import documented
from memoryd.http.schemas.generations import (
    GenerationIn,
    GenerationOut,
    GenerationPage,
    MoveIn,
    ProgressOut,
    VerifyIn,
)
from memoryd.http.strict import StrictRoute
from memoryd.http.views import plain_json

router = APIRouter(prefix="/v1/generations", tags=["generations"], route_class=StrictRoute)


async def actor(
    request: Request, use: Uses, _bearer: object = Security(BEARER), _header: object = Security(API_KEY_HEADER)
) -> Actor:
    """The operator, or a tenant's admin key. Raises ``Forbidden``."""
    if getattr(request.state, "operator", False):
        return use.generations.operator(request.state.request_id)
    return use.generations.tenant(request.state.scope)


async def generations(use: Uses) -> Generations:
    """The use cases."""
    return use.generations


Asking = Annotated[Actor, Depends(actor)]
Using = Annotated[Generations, Depends(generations)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post("", status_code=201, responses=documented(404, 409), operation_id="create_generation")
async def create_generation(body: GenerationIn, asking: Asking, use: Using, once: Once) -> GenerationOut:
    """Begin to embed everything with another model, beside what serves. Every write reaches both from now on.

    Repeated with its `Idempotency-Key`, it answers the generation that it made; with another, and while that is not retired, 409
    `already_exists`.
    """
    default = ScopeKind.INSTALLATION if asking.tenant_id is None else ScopeKind.TENANT
    scope = body.scope or default
    return out(await use.create(asking, body.model, scope, knowledge_base=body.knowledge_base, idempotency=once))


@router.get("", responses=documented(), operation_id="list_generations")
async def list_generations(asking: Asking, use: Using, limit: Limit = 50, cursor: Cursor = None) -> GenerationPage:
    """Generations by number: a tenant's own and the installation's, or with the operator's key all."""
    found = await use.page(asking, after=whole(cursor) or 0, limit=limit + 1)
    more = len(found) > limit
    return GenerationPage(
        generations=[out(one) for one in found[:limit]],
        next_cursor=to_cursor(str(found[limit - 1].generation.number)) if more else None,
    )


@router.get("/{number}", responses=documented(404), operation_id="get_generation")
async def get_generation(number: Number, asking: Asking, use: Using) -> GenerationOut:
    """A generation as it stands: state, progress, time left, and what its last verification found."""
    return out(await use.get(asking, number))


@router.post("/{number}/pause", responses=documented(404, 409), operation_id="pause_generation")
async def pause_generation(number: Number, asking: Asking, use: Using) -> GenerationOut:
    """The worker leaves it alone; writes go on reaching it. Safe to repeat."""
    return out(await use.pause(asking, number))


@router.post("/{number}/resume", responses=documented(404, 409), operation_id="resume_generation")
async def resume_generation(number: Number, asking: Asking, use: Using) -> GenerationOut:
    """The worker goes on where it was. Safe to repeat."""
    return out(await use.resume(asking, number))


@router.post("/{number}/verify", responses=documented(404, 409), operation_id="verify_generation")
async def verify_generation(number: Number, asking: Asking, use: Using, body: VerifyIn | None = None) -> GenerationOut:
    """Measure again, and keep the report: counts, digests, samples, neighbours, and with questions nDCG. Safe to repeat.

    What takes longer than a request may is left to the worker, and so is what lacks vectors, which it first tries again to embed:
    `measuring` is true until its report is there.
    """
    queries = [] if body is None else [Labelled(one.query, frozenset(one.relevant)) for one in body.queries]
    return out(await use.verify(asking, number, queries))


@router.post("/{number}/cutover", responses=documented(404, 409), operation_id="cut_over_to_generation")
async def cut_over_to_generation(number: Number, asking: Asking, use: Using, body: MoveIn | None = None) -> GenerationOut:
    """Answer reads from it from now on; what it replaces drains, and is written to until it is retired. Safe to repeat.

    409 `gate_failed`, with the report, unless its last verification passed; `force` with a reason goes on all the same.
    """
    return out(await use.cut_over(asking, number, forced=None if body is None else body.force))


@router.post("/{number}/rollback", responses=documented(404, 409), operation_id="roll_back_generation")
async def roll_back_generation(number: Number, asking: Asking, use: Using, body: MoveIn | None = None) -> GenerationOut:
    """Answer reads from what it replaced again: of what is live. Safe to repeat.

    Where what it replaced is retired, what that had replaced answers; a tenant's own ends at the installation's.
    """
    return out(await use.roll_back(asking, number, forced=None if body is None else body.force))


@router.post("/{number}/retire", responses=documented(404, 409), operation_id="retire_generation")
async def retire_generation(number: Number, asking: Asking, use: Using) -> GenerationOut:
    """Give it up for good: no write reaches it any more, and its vectors go some minutes later. Safe to repeat."""
    return out(await use.retire(asking, number))


def out(found: Registered) -> GenerationOut:
    """A generation as answers show it."""
    of, progress, report = found.generation, found.progress, shown(found.report)
    return GenerationOut(
        number=of.number,
        model=of.model,
        revision=of.revision,
        dimension=of.dimension,
        scope=of.scope,
        tenant_id=of.tenant_id,
        knowledge_base_id=of.kb_id,
        state=of.state,
        paused=found.paused,
        progress=ProgressOut(
            total=progress.total,
            done=progress.done,
            embedded=progress.embedded,
            tokens=progress.tokens,
            items_per_second=progress.per_second,
            tokens_per_second=progress.tokens_per_second,
            eta_s=progress.eta_s,
        ),
        incomplete=found.gaps,
        failure=found.failure,
        report=None if report is None else plain_json(report),
        measuring=found.owed is not None,
        forced=found.forced,
        replaced=of.replaced,
        created_by=found.created_by,
        created_at=found.created_at,
        live_at=found.live_at,
        drained_at=found.drained_at,
        retired_at=found.retired_at,
        purged_at=found.purged_at,
    )
