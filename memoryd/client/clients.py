"""The two clients."""

from ssl import SSLContext
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from memoryd.client.awaiting import Awaiting
from memoryd.client.blocking import Blocking
from memoryd.client.bulk import BulkOperations
from memoryd.client.generations import GenerationOperations
from memoryd.client.http import Settings
from memoryd.client.jobs import JobOperations
from memoryd.client.retries import Retries

_DEFAULT = Retries()


class Knowledge(BulkOperations):
    """``/v1/knowledge-bases``."""

    def __init__(self, side: Blocking) -> None:
        self.side: Blocking = side


class Jobs(JobOperations):
    """``/v1/jobs``."""

    def __init__(self, side: Blocking) -> None:
        self.side: Blocking = side


class AsyncKnowledge(BulkOperations):
    """``/v1/knowledge-bases``."""

    def __init__(self, side: Awaiting) -> None:
        self.side: Awaiting = side


class AsyncJobs(JobOperations):
    """``/v1/jobs``."""

    def __init__(self, side: Awaiting) -> None:
        self.side: Awaiting = side


class Generations(GenerationOperations):
    """``/v1/generations``."""

    def __init__(self, side: Blocking) -> None:
        self.side: Blocking = side


class AsyncGenerations(GenerationOperations):
    """``/v1/generations``."""

    def __init__(self, side: Awaiting) -> None:
        self.side: Awaiting = side


class Memoryd:
    """A client of one service, as the holder of one key. Close it, or use it as a context manager.

    ``verify``: certificates, as httpx takes it; ``trust_env``: whether proxies of the environment are used; ``transport``: in
    place of the network. Raises ``ValueError`` for what is no URL, or no key.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retries: Retries = _DEFAULT,
        verify: bool | SSLContext = True,
        trust_env: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._side = Blocking(Settings(checked(url), checked_key(key), retries, verify, trust_env), transport)
        self.knowledge = Knowledge(self._side)
        self.jobs = Jobs(self._side)
        self.generations = Generations(self._side)

    def close(self) -> None:
        """Hang up."""
        self._side.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncMemoryd:
    """The same for an event loop: every operation is a coroutine, every list an asynchronous iterator."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retries: Retries = _DEFAULT,
        verify: bool | SSLContext = True,
        trust_env: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._side = Awaiting(Settings(checked(url), checked_key(key), retries, verify, trust_env), transport)
        self.knowledge = AsyncKnowledge(self._side)
        self.jobs = AsyncJobs(self._side)
        self.generations = AsyncGenerations(self._side)

    async def close(self) -> None:
        """Hang up."""
        await self._side.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def checked(url: str) -> str:
    """Without a slash at its end. Raises ``ValueError``."""
    parts = urlsplit(url)
    # A port that is none raises by itself.
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f"not the URL of a service: {url}; it looks like http://127.0.0.1:7077")
    return url.rstrip("/").removesuffix("/mcp").removesuffix("/v1")


def checked_key(key: str) -> str:
    """As it can go into a header. Raises ``ValueError``, which does not repeat it."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("not an API key: it is empty, or has characters that no key has")
    return key
