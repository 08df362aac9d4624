"""The root of memoryd's one error tree, and the errors the inner ring raises.

Each class has a stable ``code``; ``retryable`` says whether the same call may succeed later.
The service's own errors hang below the same root in :mod:`memoryd.errors`::

    MemorydError
    ├── InferenceError
    │   ├── InferenceUnavailable   the model cannot be loaded or its process is gone
    │   ├── InferenceOverloaded    admission refused: too much queued
    │   ├── InferenceTimeout       the call's own deadline has passed, or cannot be met
    │   ├── BatchTooLarge          admission refused: more than can be done in the time of a request
    │   ├── ModelNotFound          no such model in the cache, on disk or on the hub
    │   └── ModelMismatch          a server has another model than the one whose vectors are wanted
    ├── PackingError
    │   ├── BudgetTooSmall         must_include does not fit the budget
    │   └── UnknownTokenizer       no tokenizer of that name
    └── (memoryd.errors …)
"""


class MemorydError(Exception):
    """Something memoryd refuses or cannot do."""

    code = "internal"
    retryable = False
    retry_after_s: float | None = None


class InferenceError(MemorydError):
    """The model could not answer."""

    code = "inference_failed"
    retryable = True
    retry_after_s: float | None = 1.0


class InferenceUnavailable(InferenceError):
    """The embedding or reranking model is not available."""

    code = "inference_unavailable"
    retry_after_s = 2.0


class InferenceOverloaded(InferenceError):
    """Too many tokens are queued; try again after ``retry_after_s``."""

    code = "inference_overloaded"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InferenceTimeout(InferenceError):
    """The model had more to do than the caller's deadline allows."""

    code = "inference_timeout"


class BatchTooLarge(InferenceError):
    """More than the model can do in the time of one request: sent again, it would fail again."""

    code = "batch_too_large"
    retryable = False
    retry_after_s = None


class ModelNotFound(InferenceError):
    """The named model is neither cached, nor a local folder, nor on a reachable hub."""

    code = "model_not_found"
    retryable = False
    retry_after_s = None


class ModelMismatch(InferenceError):
    """The server has another model, revision or dimension: its vectors cannot be compared with those that are stored."""

    code = "model_mismatch"
    retryable = False
    retry_after_s = None


class PackingError(MemorydError):
    """The context could not be packed as asked."""

    code = "packing_failed"


class BudgetTooSmall(PackingError):
    """The items in ``must_include`` do not fit the budget even as pointers."""

    code = "budget_too_small"


class UnknownTokenizer(PackingError):
    """The tokenizer named in the request is not one this server counts with."""

    code = "unknown_tokenizer"
