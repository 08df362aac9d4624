"""Between requests of this client and those of httpx."""

import math
import platform
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Final, TypeAlias, TypedDict

import httpx

import memoryd
from memoryd.client.form import Form
from memoryd.client.retries import Retries
from memoryd.client.steps import Answer, Query, Request
from memoryd.client.wording import as_bytes

_CONNECT_S, _SEND_S, _POOL_S = 10.0, 60.0, 60.0
TIMEOUT_S: Final = 150.0
"""Longer than the service itself lets a request last."""
DIRECT: Final = dict.fromkeys(("all://localhost", "all://127.0.0.1", "all://[::1]"))
"""``mounts`` of an HTTP client: this machine is not asked through a proxy of the environment, for which it would be another
machine, and which would be told the key."""


Content: TypeAlias = bytes | Iterable[bytes] | AsyncIterable[bytes]
"""Of a request's body."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where, as whom, and with how much patience. ``verify``: certificates, as httpx takes it. ``trust_env``: proxies of the
    environment. ``timeout_s``: how long the service may be silent before it answers a request that has no time of its own, and
    between two pieces of its answer. Raises ``ValueError`` where that is no time."""

    url: str
    key: str = field(repr=False)
    retries: Retries = field(default_factory=Retries)
    verify: bool | SSLContext = True
    trust_env: bool = True
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s < math.inf:
            raise ValueError(f"timeout_s is a number of seconds above 0, not {self.timeout_s!r}")

    @property
    def timeout(self) -> httpx.Timeout:
        """Of every request that has none of its own."""
        return _timeout(self.timeout_s)

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        agent = f"memoryd-python/{memoryd.__version__} python/{platform.python_version()}"
        return {"Authorization": f"Bearer {self.key}", "User-Agent": agent, "Accept": "application/json"}


class Keywords(TypedDict, total=False):
    """Of ``httpx.Client.build_request``."""

    method: str
    url: str
    params: Query | None
    content: Content
    headers: Mapping[str, str]
    timeout: httpx.Timeout


def keywords(request: Request, form: Form | None = None, pieces: Content | None = None) -> Keywords:
    """A request, with the ``pieces`` of its form. Raises ``Unsayable``."""
    made = Keywords(
        method=request.method,
        url=request.path,
        # Not an empty mapping: that would take the query off the path.
        params=request.query or None,
        headers=dict(request.headers) | ({} if form is None else {"Content-Type": form.content_type}),
    )
    if request.answer_s is not None:
        made["timeout"] = _timeout(request.answer_s)
    if request.body is not None:
        made["content"] = as_bytes(request.body)
        made["headers"] = {**made["headers"], "Content-Type": "application/json"}
    if pieces is not None:
        made["content"] = pieces
    return made


def _timeout(answer_s: float) -> httpx.Timeout:
    return httpx.Timeout(connect=min(_CONNECT_S, answer_s), read=answer_s, write=_SEND_S, pool=_POOL_S)


def answer(response: httpx.Response) -> Answer:
    """One whose body was read."""
    return Answer(response.status_code, _names_lowered(response), response.content)


def head(response: httpx.Response) -> Answer:
    """One whose body is still to be read."""
    return Answer(response.status_code, _names_lowered(response))


def _names_lowered(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
