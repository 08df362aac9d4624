"""The two clients."""

from ssl import SSLContext
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from memoryd.client.access import HealthOperations, KeyOperations, SpaceOperations, TenantOperations
from memoryd.client.audit import AuditOperations
from memoryd.client.awaiting import Awaiting
from memoryd.client.blocking import Blocking
from memoryd.client.bulk import BulkOperations
from memoryd.client.generations import GenerationOperations
from memoryd.client.http import TIMEOUT_S, Settings
from memoryd.client.jobs import JobOperations
from memoryd.client.memories import MemoryOperations
from memoryd.client.operation import Operations
from memoryd.client.recalling import RecallOperations
from memoryd.client.remembering import RememberOperations
from memoryd.client.retries import Retries
from memoryd.client.searching import SearchOperations
from memoryd.client.sessions import SessionOperations

_DEFAULT = Retries()


class OnBlocking(Operations):
    """A group whose operations are ordinary calls."""

    def __init__(self, side: Blocking) -> None:
        self.side: Blocking = side


class OnAwaiting(Operations):
    """A group whose operations are coroutines."""

    def __init__(self, side: Awaiting) -> None:
        self.side: Awaiting = side


class Memories(OnBlocking, MemoryOperations):
    """``/v1/memories``."""


class Knowledge(OnBlocking, BulkOperations, SearchOperations):
    """``/v1/knowledge-bases``."""


class Jobs(OnBlocking, JobOperations):
    """``/v1/jobs``."""


class Sessions(OnBlocking, SessionOperations):
    """``/v1/sessions``."""


class Spaces(OnBlocking, SpaceOperations):
    """``/v1/spaces``."""


class Keys(OnBlocking, KeyOperations):
    """``/v1/keys``."""


class Tenants(OnBlocking, TenantOperations):
    """``/v1/admin/tenants``."""


class Audit(OnBlocking, AuditOperations):
    """``/v1/audit`` and ``/v1/admin/audit``."""


class Generations(OnBlocking, GenerationOperations):
    """``/v1/generations``."""


class AsyncMemories(OnAwaiting, MemoryOperations):
    """``/v1/memories``."""


class AsyncKnowledge(OnAwaiting, BulkOperations, SearchOperations):
    """``/v1/knowledge-bases``."""


class AsyncJobs(OnAwaiting, JobOperations):
    """``/v1/jobs``."""


class AsyncSessions(OnAwaiting, SessionOperations):
    """``/v1/sessions``."""


class AsyncSpaces(OnAwaiting, SpaceOperations):
    """``/v1/spaces``."""


class AsyncKeys(OnAwaiting, KeyOperations):
    """``/v1/keys``."""


class AsyncTenants(OnAwaiting, TenantOperations):
    """``/v1/admin/tenants``."""


class AsyncAudit(OnAwaiting, AuditOperations):
    """``/v1/audit`` and ``/v1/admin/audit``."""


class AsyncGenerations(OnAwaiting, GenerationOperations):
    """``/v1/generations``."""


class _Direct(RecallOperations, RememberOperations, HealthOperations):
    """What an agent does all the time."""


class Memoryd(OnBlocking, _Direct):
    """A client of one service, as the holder of one key. Close it, or use it as a context manager.

    ``tenants`` wants the operator's key. ``timeout_s``: how long the service may be silent in each attempt, of which there are as
    many as ``retries`` says; uploads and streams of events have times of their own. ``verify``: certificates, as httpx takes it;
    ``trust_env``: whether proxies of the environment are used, which never are for this machine; ``transport``: in place of the
    network. Raises ``ValueError`` for what is no URL, no key, or no time.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retries: Retries = _DEFAULT,
        timeout_s: float = TIMEOUT_S,
        verify: bool | SSLContext = True,
        trust_env: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(Blocking(Settings(checked(url), checked_key(key), retries, verify, trust_env, timeout_s), transport))
        self.memories = Memories(self.side)
        self.knowledge = Knowledge(self.side)
        self.jobs = Jobs(self.side)
        self.sessions = Sessions(self.side)
        self.spaces = Spaces(self.side)
        self.keys = Keys(self.side)
        self.tenants = Tenants(self.side)
        self.audit = Audit(self.side)
        self.generations = Generations(self.side)

    def close(self) -> None:
        """Hang up."""
        self.side.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncMemoryd(OnAwaiting, _Direct):
    """The same for an event loop: every operation is a coroutine, every list an asynchronous iterator."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retries: Retries = _DEFAULT,
        timeout_s: float = TIMEOUT_S,
        verify: bool | SSLContext = True,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(Awaiting(Settings(checked(url), checked_key(key), retries, verify, trust_env, timeout_s), transport))
        self.memories = AsyncMemories(self.side)
        self.knowledge = AsyncKnowledge(self.side)
        self.jobs = AsyncJobs(self.side)
        self.sessions = AsyncSessions(self.side)
        self.spaces = AsyncSpaces(self.side)
        self.keys = AsyncKeys(self.side)
        self.tenants = AsyncTenants(self.side)
        self.audit = AsyncAudit(self.side)
        self.generations = AsyncGenerations(self.side)

    async def close(self) -> None:
        """Hang up."""
        await self.side.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def checked(url: str) -> str:
    """Without a slash at its end. Raises ``ValueError``."""
    parts = urlsplit(url)
    # A port that is none raises by itself.
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(_no_url(url))
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(_no_url(url)) from error
    return url.rstrip("/").removesuffix("/mcp").removesuffix("/v1")


def checked_key(key: str) -> str:
    """As it can go into a header. Raises ``ValueError``, which does not repeat it."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("not an API key: it is empty, or has characters that no key has")
    return key


def _no_url(url: str) -> str:
    return f"not the URL of a service: {url!r}; it looks like http://127.0.0.1:7077"
