"""One document by its URL, fetched so that nobody can reach through us what only we can reach.

The guard against server-side request forgery: a URL's host is resolved once, every address of the answer is checked, and
the connection goes to a checked address, so that an answer that changes later (rebinding) changes nothing. The name stays
in the ``Host`` header, in TLS's SNI and in the check of the certificate. Redirects are followed by hand, each through the
same door. Proxies of the environment are not used: they would resolve the name again.
"""

import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import httpx

from ingestion.sources.addresses import Network, is_blocked
from ingestion.sources.encodings import decoder
from ingestion.sources.errors import Reason, SourceRefused

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""``(host, port) -> addresses``; raises ``OSError``."""

_MAX_URL_CHARS = 4096
_MAX_NAME_CHARS = 200
# What a server says of a document is taken apart by code that is slow on what is long, and kept.
_MAX_HEADER_CHARS = 1000
# A thread's turn: hashed and written together.
_BLOCK_BYTES = 1 << 18
_ADDRESSES_TRIED = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = {"user-agent": "memoryd", "accept": "*/*", "accept-encoding": "gzip"}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What may be fetched. ``max_bytes`` holds for the bytes on the wire and for those they unpack to, ``total_s`` for
    everything from the first look-up to the last byte; ``allowed`` networks are let through although they are not public.
    """

    max_bytes: int = 100 * 1024 * 1024
    total_s: float = 60.0
    connect_s: float = 10.0
    redirects: int = 5
    ports: frozenset[int] = frozenset({80, 443})
    allowed: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was written. ``media_type`` and ``charset`` are what the server says; ``sha256`` is a hexadecimal digest."""

    url: str
    media_type: str | None
    charset: str | None
    file_name: str | None
    size: int
    sha256: str


class Fetcher:
    """Fetches documents. Each has connections of its own."""

    def __init__(self, policy: FetchPolicy, *, resolve: Resolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        """``tls``: which authorities are trusted; those of ``certifi`` unless it is given."""
        self._policy = policy
        self._resolve = resolve or _resolve
        self._tls = tls or httpx.create_ssl_context(trust_env=False)

    async def fetch(self, url: str, into: Path) -> Fetched:
        """Write the document to ``into``. Raises ``SourceRefused``; what was written by then is the caller's to delete."""
        try:
            async with asyncio.timeout(self._policy.total_s):
                return await self._follow(_parsed(url), into)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceRefused(Reason.TIMED_OUT, f"the URL took more than {self._policy.total_s:g} s", retryable=True) from error
        except (httpx.TransportError, ssl.SSLError) as error:
            raise SourceRefused(Reason.CONNECTION_FAILED, "the server cannot be reached or broke off", retryable=True) from error

    async def _follow(self, url: httpx.URL, into: Path) -> Fetched:
        for _ in range(self._policy.redirects + 1):
            async with self._answer(url) as answer:
                if answer.status_code not in _REDIRECTS:
                    return await self._store(url, answer, into)
                location = answer.headers.get("location", "")
            url = _joined(url, location)
        raise SourceRefused(Reason.TOO_MANY_REDIRECTS, f"more than {self._policy.redirects} redirects")

    @asynccontextmanager
    async def _answer(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        addresses = await self._addresses(url)
        timeout = httpx.Timeout(self._policy.total_s, connect=self._policy.connect_s)
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=timeout) as client:
            answer = await _first(client, url, addresses)
            try:
                yield answer
            finally:
                await answer.aclose()

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        """The addresses to connect to, all of which may be asked."""
        port = url.port or _PORTS[url.scheme]
        if port not in self._policy.ports:
            raise SourceRefused(Reason.BLOCKED_PORT, f"port {port} is not among those that may be asked")
        host = url.raw_host.decode("ascii")
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise SourceRefused(Reason.DNS_FAILED, "the host's name cannot be resolved", retryable=True) from error
        if not addresses:
            raise SourceRefused(Reason.DNS_FAILED, "the host's name has no address")
        if any(is_blocked(address, self._policy.allowed) for address in addresses):
            raise SourceRefused(Reason.BLOCKED_ADDRESS, "the host is not on the public internet")
        return addresses[:_ADDRESSES_TRIED]

    async def _store(self, url: httpx.URL, answer: httpx.Response, into: Path) -> Fetched:
        if answer.status_code != httpx.codes.OK:
            status = answer.status_code
            raise SourceRefused(Reason.BAD_STATUS, f"the server answered {status}", retryable=status in _WORTH_ANOTHER_TRY)
        most = self._policy.max_bytes
        if answer.headers.get("content-length", "").isdecimal() and int(answer.headers["content-length"]) > most:
            raise _too_large(most)
        decode = decoder(answer.headers.get("content-encoding", ""))
        sink = _Sink(into.open("wb"), most)
        try:
            wire = 0
            async for raw in answer.aiter_raw():
                wire += len(raw)
                if wire > most:
                    raise _too_large(most)
                for data in decode(raw):
                    await sink.add(data)
            for data in decode(b""):
                await sink.add(data)
            await sink.flush()
        finally:
            await asyncio.to_thread(sink.file.close)
        described = Message()
        described["content-type"] = answer.headers.get("content-type", "")[:_MAX_HEADER_CHARS]
        return Fetched(
            str(url),
            described.get_content_type() if "/" in described["content-type"] else None,
            described.get_content_charset(),
            _file_name(answer.headers.get("content-disposition"), url),
            sink.size,
            sink.hash.hexdigest(),
        )


class _Sink:
    """Writes and hashes in threads, a block at a time."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file = file
        self.size = 0
        self.hash = hashlib.sha256()
        self._most = most
        self._block = bytearray()

    async def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most:
            raise _too_large(self._most)
        self._block += data
        if len(self._block) >= _BLOCK_BYTES:
            await self.flush()

    async def flush(self) -> None:
        block, self._block = bytes(self._block), bytearray()
        await asyncio.to_thread(self._write, block)

    def _write(self, block: bytes) -> None:
        self.hash.update(block)
        self.file.write(block)


def _too_large(most: int) -> SourceRefused:
    return SourceRefused(Reason.TOO_LARGE, f"the document has more than {most} bytes")


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


async def _first(client: httpx.AsyncClient, url: httpx.URL, addresses: Sequence[str]) -> httpx.Response:
    """The answer of the first address that takes a connection; the name is asked for, the address is connected to."""
    for number, address in enumerate(addresses, 1):
        request = client.build_request(
            "GET",
            url.copy_with(host=address),
            headers=_HEADERS | {"host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        try:
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if number == len(addresses):
                raise
    raise AssertionError("there is always an address")


def _parsed(url: str) -> httpx.URL:
    """A URL that every reader of URLs reads alike. Raises ``SourceRefused``."""
    if len(url) > _MAX_URL_CHARS or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise SourceRefused(Reason.BAD_URL, "the URL is too long, or has spaces, backslashes or control characters")
    try:
        found = httpx.URL(url)
        host = found.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SourceRefused(Reason.BAD_URL, "this is no URL") from error
    if found.scheme not in _PORTS:
        raise SourceRefused(Reason.NOT_HTTP, "only http and https URLs are fetched")
    if found.userinfo or "@" in found.netloc.decode("ascii"):
        raise SourceRefused(Reason.CREDENTIALS_IN_URL, "a URL must not hold credentials")
    if found.port == 0 or not _is_host(host):
        raise SourceRefused(Reason.BAD_URL, "the URL names no host that can be asked")
    return found.copy_with(fragment=None)


def _is_host(host: str) -> bool:
    """True for a name, and for an address in the one spelling that everybody reads alike.

    A name whose last label is a number is an IPv4 address to some readers: 0x7f.1, 017700000001, 2130706433.
    """
    if ":" not in host and re.fullmatch(r"(?:.*\.)?(?:\d+|0[xX][0-9a-fA-F]*)\.?", host) is None:
        return re.fullmatch(r"[A-Za-z0-9._-]+", host) is not None
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    if not location:
        raise SourceRefused(Reason.BAD_URL, "a redirect leads nowhere")
    try:
        return _parsed(str(url.join(location)))
    except httpx.InvalidURL as error:
        raise SourceRefused(Reason.BAD_URL, "a redirect leads to no URL") from error


def _file_name(disposition: str | None, url: httpx.URL) -> str | None:
    """The name that the server gives, else the last part of the path; never with folders in it."""
    described = Message()
    described["content-disposition"] = (disposition or "")[:_MAX_HEADER_CHARS]
    name = described.get_filename() or unquote(url.path.rpartition("/")[2])
    name = re.split(r"[/\\]", name)[-1]
    name = re.sub(r"[\x00-\x1f\x7f]", "", name).strip()[-_MAX_NAME_CHARS:]
    return name if name.strip(".") else None
