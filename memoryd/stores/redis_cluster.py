"""The servers of a Redis or Valkey Cluster: which has a key, and where it went when it moved.

redis-py's own client of clusters sends a write again when the connection broke after it was sent, knows no transactions, closes
the connections to every server when one is gone, and loses those whose caller gave up. Here a slot's server is an ordinary
:class:`memoryd.stores.redis_server.Server`, and only what a server refused with ``MOVED`` is sent to another one. While a slot is
being moved, commands of several keys, as all scripts are, are refused by both its servers: there is nothing to follow (``ASK``).
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from redis import exceptions
from redis.asyncio.connection import parse_url
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from memoryd.stores.redis_server import Command, Server

Address = tuple[str, int]

_SUFFIX = "+cluster"
_REDIRECTS = 4
_PAUSE_S = 1.0


def is_cluster(url: str) -> bool:
    """Whether the URL names a cluster: ``redis+cluster://host:port,host:port`` or ``rediss+cluster://``."""
    return urlsplit(url).scheme.endswith(_SUFFIX)


class Cluster:
    """Servers by slot. The map is asked for when it is first needed, and again after a refusal or a lost connection."""

    def __init__(self, url: str, *, timeout_s: float, connections: int) -> None:
        self._options, self._seeds = _parsed(url)
        self._timeout_s = timeout_s
        self._connections = connections
        self._servers: dict[Address, Server] = {}
        self._slots: list[Address | None] = []
        self._stale = True
        self._asked_at = float("-inf")
        self._learning = asyncio.Lock()

    async def answer(self, key: str | bytes, command: Command) -> object:
        """As :meth:`answers`, of one command."""
        (found,) = await self.answers(key, [command])
        return found

    async def answers(self, key: str | bytes, commands: Sequence[Command]) -> list[object]:
        """As :meth:`Server.answers`, of the server that has ``key``, the one slot that all commands are about.

        Several commands must be safe to repeat: when the slot moves in their midst, all are sent to where it went.
        """
        await self._known()
        address = self._slots[key_slot(key.encode() if isinstance(key, str) else key)]
        for _ in range(_REDIRECTS):
            if address is None:
                break
            try:
                return await self._server(address).answers(key, commands)
            except exceptions.ResponseError as error:
                word, _, rest = str(error).partition(" ")
                if word != "MOVED":
                    raise
                self._stale = True
                address = _address(rest.partition(" ")[2], address)
            except BaseException:
                # Gone, or it hangs, which its caller notices first: another server may have its slots by now.
                self._stale = True
                raise
        self._stale = True
        raise exceptions.ConnectionError("no server of the cluster has the slot")

    async def primaries(self) -> list[Server]:
        """Every server that has slots."""
        await self._known()
        return [self._server(address) for address in self._primaries()]

    async def close(self) -> None:
        """Close the connections."""
        while self._servers:
            _, server = self._servers.popitem()
            await server.close()

    def _server(self, address: Address) -> Server:
        if address not in self._servers:
            host, port = address
            options = {**self._options, "host": host, "port": port}
            self._servers[address] = Server(options, timeout_s=self._timeout_s, connections=self._connections)
        return self._servers[address]

    def _primaries(self) -> list[Address]:
        found = [address for address in dict.fromkeys(self._slots) if address is not None]
        if not found:
            raise exceptions.ConnectionError("the cluster serves no slots")
        return found

    async def _known(self) -> None:
        """Have a map."""
        if self._good():
            return
        async with self._learning:
            if self._good():
                return
            self._asked_at = time.monotonic()
            self._slots = await self._learned()
            self._stale = False
            for address in self._servers.keys() - set(self._slots) - set(self._seeds):
                await self._servers.pop(address).close()

    def _good(self) -> bool:
        """Whether the map will do: also a stale one, while one caller a second asks for a new one."""
        return not self._stale or (bool(self._slots) and time.monotonic() - self._asked_at < _PAUSE_S)

    async def _learned(self) -> list[Address | None]:
        """Who has which slot, from the first server that tells. Raises ``ConnectionError``."""
        known = list({address for address in self._slots if address is not None} | set(self._seeds))
        random.shuffle(known)
        for address in known:
            try:
                # One that hangs must leave time for another.
                async with asyncio.timeout(self._timeout_s / 4):
                    (told,) = await self._server(address).answers(None, [("CLUSTER", "SLOTS")])
            except (exceptions.RedisError, OSError):
                continue
            return _slots(told, address)
        raise exceptions.ConnectionError("no server of the cluster answers")


def _parsed(url: str) -> tuple[Mapping[str, object], list[Address]]:
    """redis-py's options, and the servers to ask first. Raises ``ValueError``."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix(_SUFFIX)
    seeds = []
    options: Mapping[str, object] = {}
    for host in hosts.split(","):
        options = {**parse_url(urlunsplit((scheme, f"{credentials}{at}{host}", parts.path, parts.query, "")))}
        if options.get("db"):
            raise ValueError("a cluster has no numbered databases: the URL must not name one")
        seeds.append((str(options.get("host", "localhost")), int(str(options.get("port", 6379)))))
    return options, seeds


def _slots(told: object, asked: Address) -> list[Address | None]:
    """From the answer to ``CLUSTER SLOTS``: first slot, last slot, primary, replicas, each server as host, port and more."""
    found: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, primary, *_ in told if isinstance(told, list) else ():
        host = primary[0].decode() if primary[0] else ""
        found[first : last + 1] = [(host or asked[0], primary[1])] * (last + 1 - first)
    return found


def _address(told: str, asked: Address) -> Address:
    """From ``host:port`` of a refusal; a server that does not know its own name leaves the host out."""
    host, _, port = told.rpartition(":")
    return host or asked[0], int(port)
