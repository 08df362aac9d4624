"""Errors as answers: when who asks is told to come back."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from memoryd.client.errors import LASTING
from memoryd.errors import StoreUnavailable
from memoryd.http.problems import error_response
from retrieval.errors import InferenceError, MemorydError, ModelMismatch, ModelNotFound


def _below(kind: type[MemorydError]) -> Iterator[type[MemorydError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


@pytest.mark.parametrize("kind", [ModelNotFound, ModelMismatch])
def test_nobody_is_told_to_wait_for_what_does_not_pass(kind: type[MemorydError]) -> None:
    answer = error_response("r-1", kind("because"))
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "retry-after" not in answer.headers
    assert "retry-after" in error_response("r-1", StoreUnavailable("because")).headers


def test_the_client_knows_what_does_not_pass() -> None:
    """Of the errors of inference, which are 503 unless they say otherwise."""
    lasting = {one for one in _below(InferenceError) if not one.retryable}
    answers = {one.code: error_response("r-1", one("because")).status_code for one in lasting}
    assert {code for code, status in answers.items() if status == HTTPStatus.SERVICE_UNAVAILABLE} == LASTING
