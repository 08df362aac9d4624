"""Bodies of the probes."""

from typing import Literal

from pydantic import BaseModel


class LiveOut(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class CheckOut(BaseModel):
    """One thing that readiness looks at."""

    ok: bool
    required: bool


class ReadyOut(BaseModel):
    """Ready to serve."""

    status: Literal["ready"] = "ready"
    checks: dict[str, CheckOut]
