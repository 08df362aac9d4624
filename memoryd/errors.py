"""Every error the service raises, with its stable ``code`` and HTTP ``status``; one tree with :mod:`retrieval.errors`.

::

    MemorydError                     (retrieval.errors)
    └── ServiceError                 has a status
        ├── InvalidRequest           422  invalid_request
        ├── MalformedPath            400  malformed_path
        ├── Unauthenticated          401  unauthenticated
        ├── Forbidden                403  forbidden
        ├── NotFound                 404  not_found
        │   ├── SpaceNotFound        404  space_not_found
        │   └── UnknownModel         404  unknown_model
        ├── Conflict                 409  conflict
        │   ├── AlreadyExists        409  already_exists
        │   ├── Collision            409  conflict
        │   ├── VersionConflict      409  version_conflict
        │   ├── WrongState           409  wrong_state
        │   ├── GenerationsChanged   409  generations_changed
        │   ├── GateFailed           409  gate_failed
        │   └── IdempotencyInProgress 409 idempotency_in_progress
        ├── PreconditionFailed       412  precondition_failed
        ├── PayloadTooLarge          413  payload_too_large
        ├── IdempotencyKeyReused     422  idempotency_key_reused
        ├── HandleInvalid            422  handle_invalid
        ├── HandleExpired            410  handle_expired
        ├── VersionGone              410  version_gone
        ├── DeadlineExceeded         504  deadline_exceeded
        ├── TooManyStreams           429  too_many_streams
        ├── ChatUnavailable          503  chat_unavailable
        │   └── ChatRefused          503  chat_unavailable
        └── StoreUnavailable         503  store_unavailable
            └── WorkingMemoryUnavailable 503 working_memory_unavailable
"""

from collections.abc import Mapping

from retrieval.errors import MemorydError
from retrieval.filters import JsonValue


class ServiceError(MemorydError):
    """Something the service answers with a problem document."""

    status = 500
    title = "Internal error"


class InvalidRequest(ServiceError):
    """The request is understood but not acceptable; the detail names the field."""

    code, status, title = "invalid_request", 422, "Invalid request"


class MalformedPath(ServiceError):
    """The path is not UTF-8 once its percent signs are undone: which name it holds cannot be told."""

    code, status, title = "malformed_path", 400, "Malformed path"


class Unauthenticated(ServiceError):
    """No key, or one that is unknown, expired or revoked."""

    code, status, title = "unauthenticated", 401, "Unauthenticated"


class Forbidden(ServiceError):
    """The key lacks the action or the space."""

    code, status, title = "forbidden", 403, "Forbidden"


class NotFound(ServiceError):
    """No such thing in this tenant; a foreign id is answered the same way."""

    code, status, title = "not_found", 404, "Not found"


class SpaceNotFound(NotFound):
    """No space of that name that this key may use."""

    code, title = "space_not_found", "Space not found"


class UnknownModel(NotFound):
    """This inference server has no model of that name for what is asked."""

    code, title = "unknown_model", "Unknown model"


class Conflict(ServiceError):
    """The present state does not allow it."""

    code, status, title = "conflict", 409, "Conflict"


class AlreadyExists(Conflict):
    """The name is taken."""

    code, title = "already_exists", "Already exists"


class Collision(Conflict):
    """Two writers waited for each other, and this one gave way: nothing was written, and sent again it succeeds."""

    retryable = True
    retry_after_s = 1.0


class VersionConflict(Conflict):
    """A compare-and-set found another version than the caller had seen; ``current_version`` 0: there is none."""

    code, title = "version_conflict", "Version conflict"
    current_version = 0

    def __init__(self, message: str, current_version: int) -> None:
        super().__init__(message)
        self.current_version = current_version


class WrongState(Conflict):
    """A job's state does not allow what was asked of it; ``state`` says which it is."""

    code, title = "wrong_state", "Wrong state"
    state = ""

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


class GenerationsChanged(Conflict):
    """An embedding generation was made while this was being embedded: nothing was written, and sent again it succeeds."""

    code, title = "generations_changed", "Generations changed"
    retryable = True
    retry_after_s = 1.0


class GateFailed(Conflict):
    """The verification of an embedding generation found something wrong, or there was none; ``report`` says what."""

    code, title = "gate_failed", "Gate failed"
    report: Mapping[str, JsonValue] | None = None

    def __init__(self, message: str, report: Mapping[str, JsonValue] | None) -> None:
        super().__init__(message)
        self.report = report


class IdempotencyInProgress(Conflict):
    """Another request with this Idempotency-Key is still running."""

    code, title = "idempotency_in_progress", "Request in progress"
    retryable = True
    retry_after_s = 1.0


class PreconditionFailed(ServiceError):
    """``If-Match`` names another revision than the current one."""

    code, status, title = "precondition_failed", 412, "Precondition failed"


class PayloadTooLarge(ServiceError):
    """The body, or a part of it, is larger than the limit."""

    code, status, title = "payload_too_large", 413, "Payload too large"


class IdempotencyKeyReused(ServiceError):
    """This Idempotency-Key was used with another request."""

    code, status, title = "idempotency_key_reused", 422, "Idempotency-Key reused"


class HandleInvalid(ServiceError):
    """The handle was not issued by this server for this tenant and these spaces."""

    code, status, title = "handle_invalid", 422, "Invalid handle"


class HandleExpired(ServiceError):
    """The handle has expired; ask for the context again."""

    code, status, title = "handle_expired", 410, "Handle expired"


class VersionGone(ServiceError):
    """This version of a knowledge base was collected: there is nothing to read in it any more."""

    code, status, title = "version_gone", 410, "Version gone"


class DeadlineExceeded(ServiceError):
    """The request did not finish in time."""

    code, status, title = "deadline_exceeded", 504, "Deadline exceeded"
    retryable = True
    retry_after_s = 1.0


class StoreUnavailable(ServiceError):
    """The database cannot be reached; unless it was lost while committing, nothing was written."""

    code, status, title = "store_unavailable", 503, "Store unavailable"
    retryable = True
    retry_after_s = 1.0


class WorkingMemoryUnavailable(StoreUnavailable):
    """Redis cannot be reached: sessions wait, long-term memory goes on."""

    code, title = "working_memory_unavailable", "Working memory unavailable"


class ChatUnavailable(ServiceError):
    """The configured language model does not answer; what it was wanted for is done without it, or waits."""

    code, status, title = "chat_unavailable", 503, "Language model unavailable"
    retryable = True
    retry_after_s = 5.0


class ChatRefused(ChatUnavailable):
    """The configured language model does not take this text; it may take others."""

    retryable = False


class TooManyStreams(ServiceError):
    """This process serves as many event streams as it may."""

    code, status, title = "too_many_streams", 429, "Too many streams"
    retryable = True
    retry_after_s = 5.0
