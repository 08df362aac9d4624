"""What the client raises; one tree.

::

    ClientError
    ├── Unreachable          no answer, after every attempt
    ├── UnexpectedAnswer     an answer, but not one of memoryd's
    ├── SourceUnreadable     a folder or archive that cannot be walked
    ├── PartUnreadable       a file that was to be uploaded
    ├── Unsayable            a value that no request can have; a ValueError too
    ├── WaitedTooLong        the job goes on
    └── MemorydProblem       the service said no: code, status, detail, request_id
        ├── InvalidRequest   400, 413, 415, 422
        ├── Unauthenticated  401
        ├── Forbidden        403
        ├── NotFound         404
        ├── Conflict         409, 412
        ├── Gone             410
        └── Unavailable      429, 500 and above, after every attempt
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, ValidationError

LASTING: Final = frozenset({"model_mismatch", "model_not_found"})
"""Codes of answers of 503 that do not pass by waiting: whoever runs the service must mend something."""


class ClientError(Exception):
    """Anything that this client raises of its own."""


class Unreachable(ClientError):
    """No answer came, after every attempt: the address is wrong, the service is down, or the network is."""


class UnexpectedAnswer(ClientError):
    """Something answered that is not memoryd, or is of a version that this client does not understand."""


class SourceUnreadable(ClientError):
    """A folder, file or archive that cannot be read."""


class PartUnreadable(ClientError):
    """A file of an upload cannot be read; ``part`` is its place in the form. Nothing of the form was kept."""

    def __init__(self, part: int, detail: str) -> None:
        super().__init__(detail)
        self.part = part


class Unsayable(ClientError, ValueError):
    """A value that no request can have: a time without an offset, a name with a slash. Nothing was sent."""


class WaitedTooLong(ClientError):
    """The time that the caller gave is over. The job goes on."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field that is wrong: its path, and what is wrong with it."""

    field: str
    message: str


class MemorydProblem(ClientError):
    """The service answered with a problem (RFC 9457). ``code`` is stable: see docs/errors.md."""

    def __init__(
        self,
        *,
        code: str,
        status: int,
        detail: str,
        title: str = "",
        request_id: str | None = None,
        faults: tuple[FieldFault, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{detail} [{code}]")
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.faults = faults
        self.retry_after_s = retry_after_s


class InvalidRequest(MemorydProblem):
    """The request is not acceptable; ``faults`` names the fields. Nothing was stored."""


class Unauthenticated(MemorydProblem):
    """No key, or one that is unknown, expired or revoked."""


class Forbidden(MemorydProblem):
    """The key lacks the action or the space."""


class NotFound(MemorydProblem):
    """No such thing for this key."""


class Conflict(MemorydProblem):
    """The present state does not allow it."""


class Gone(MemorydProblem):
    """It was there once: a version that was collected."""


class Unavailable(MemorydProblem):
    """The service cannot do it now; the client has tried again already, but for those in :data:`LASTING`."""


_KINDS: dict[int, type[MemorydProblem]] = {
    HTTPStatus.UNAUTHORIZED: Unauthenticated,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.PRECONDITION_FAILED: Conflict,
    HTTPStatus.GONE: Gone,
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
}


class _Fault(BaseModel):
    field: str
    message: str


class _Coded(BaseModel):
    code: str


class _Problem(BaseModel):
    status: int
    code: str
    title: str = ""
    detail: str = ""
    request_id: str | None = None
    errors: list[_Fault] | None = None


def problem(status: int, content: bytes, retry_after_s: float | None = None) -> ClientError:
    """The exception for an answer of 400 and above: :class:`UnexpectedAnswer` when it is not a problem of memoryd's."""
    try:
        said = _Problem.model_validate_json(content)
    except ValidationError:
        return UnexpectedAnswer(f"HTTP {status} without a problem: is this memoryd's address?")
    kind = _KINDS.get(status, Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidRequest)
    return kind(
        code=said.code,
        status=status,
        detail=said.detail or said.title,
        title=said.title,
        request_id=said.request_id,
        faults=tuple(FieldFault(one.field, one.message) for one in said.errors or ()),
        retry_after_s=retry_after_s,
    )


def code_of(content: bytes) -> str | None:
    """The code of an answer that is a problem."""
    try:
        return _Coded.model_validate_json(content).code
    except ValidationError:
        return None
