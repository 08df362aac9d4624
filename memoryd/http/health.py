"""``/livez`` and ``/readyz``: for supervisors and load balancers; no key needed, nothing secret told."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from memoryd.http.caller import Uses
from memoryd.http.problems import Problem, problem_response
from memoryd.http.schemas.health import CheckOut, LiveOut, ReadyOut

router = APIRouter(tags=["health"])


@router.get("/livez", operation_id="livez")
async def livez() -> LiveOut:
    """The process answers; says nothing of what it needs."""
    return LiveOut()


@router.get(
    "/readyz",
    operation_id="readyz",
    response_model=ReadyOut,
    responses={503: {"description": "Not ready", "model": Problem}},
)
async def readyz(request: Request, use: Uses) -> ReadyOut | JSONResponse:
    """Everything that is needed to answer is there. What is only helpful may be missing. `memoryd doctor` says more."""
    checks = await use.readiness.checks()
    failed = sorted(name for name, check in checks.items() if check.required and not check.ok)
    if failed:
        return problem_response(
            request.state.request_id,
            status=503,
            code="not_ready",
            title="Not ready",
            detail=f"waiting for: {', '.join(failed)}",
            retry_after_s=1,
        )
    return ReadyOut(checks={n: CheckOut(ok=c.ok, required=c.required) for n, c in sorted(checks.items())})
