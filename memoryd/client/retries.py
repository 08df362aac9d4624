"""When to send a request again, and after how long."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from memoryd.client.errors import LASTING, code_of
from memoryd.client.steps import Answer, Lost

AGAIN = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses that say later, of the service or of a proxy before it."""
_RUNNING = "idempotency_in_progress"
_chance = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Retries:
    """At most ``attempts`` in all, with pauses that double from ``first_s`` to ``most_s``, each shortened by up to half at
    random. A ``Retry-After`` is kept to; one above ``patience_s`` is the caller's to decide about. To be told that an earlier
    attempt is still at work is none of them, for ``running_s`` seconds: where there is more than one, its end is waited for."""

    attempts: int = 6
    first_s: float = 0.5
    most_s: float = 15.0
    patience_s: float = 60.0
    running_s: float = 150.0
    chance: Callable[[], float] = _chance

    def pause(self, attempt: int, reply: Answer | Lost) -> float | None:
        """Seconds to wait after the ``attempt``-th attempt (from 1); ``None``: that was the last."""
        if attempt >= self.attempts or not worth_another(reply):
            return None
        drawn = min(self.most_s, self.first_s * 2.0 ** (attempt - 1)) * (1 - self.chance() / 2)
        asked = None if isinstance(reply, Lost) else retry_after(reply.headers)
        if asked is None:
            return drawn
        return max(asked, drawn) if asked <= self.patience_s else None


def worth_another(reply: Answer | Lost) -> bool:
    """No answer, an answer that says later and is not of what lasts, and a conflict that says when it will be over."""
    if isinstance(reply, Lost):
        return reply.part is None
    if reply.status == HTTPStatus.SERVICE_UNAVAILABLE and code_of(reply.content) in LASTING:
        return False
    return reply.status in AGAIN or (reply.status == HTTPStatus.CONFLICT and retry_after(reply.headers) is not None)


def still_running(reply: Answer | Lost) -> bool:
    """An answer that says that an earlier attempt at the same is not through."""
    return isinstance(reply, Answer) and reply.status == HTTPStatus.CONFLICT and code_of(reply.content) == _RUNNING


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After``. Its other form, a date, is not one that memoryd sends: a proxy's is passed over."""
    given = headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() else None
