"""An object store that speaks S3, on a free port of this machine: moto's server, with everything in memory."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4
from xml.etree import ElementTree

import httpx

_SOMEBODY = {"Authorization": "AWS somebody"}  # what was written under a key is not for the anonymous
_LISTED = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class S3:
    """The server; it is there when made."""

    def __init__(self) -> None:
        # Here and not above: it takes seconds, and few tests need it.
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # which would log every request
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self._url = f"http://{host}:{port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What an operator sets for a store of their own: see docs/configuration.md."""
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "an-access-key",
            "AWS_SECRET_ACCESS_KEY": "its-secret",
        }

    def bucket(self) -> "Bucket":
        """A new one."""
        made = Bucket(self._url, f"memoryd-{uuid4().hex}")
        httpx.put(made.address).raise_for_status()
        return made

    def stop(self) -> None:
        """End the server."""
        self._server.stop()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, looked at without the library that is tested."""

    server: str
    name: str

    @property
    def address(self) -> str:
        """For a client of HTTP."""
        return f"{self.server}/{self.name}"

    @property
    def url(self) -> str:
        """For ``MEMORYD_OBJECT_STORE``."""
        return f"s3://{self.name}"

    def names(self) -> list[str]:
        """The keys of all objects; fewer than a page."""
        answer = httpx.get(self.address, params={"list-type": 2, "max-keys": 1_000}).raise_for_status()
        found = [one.text or "" for one in ElementTree.fromstring(answer.text).iter(f"{_LISTED}Key")]  # noqa: S314 - our own
        assert len(found) < 1_000
        return found

    def parts(self, key: str) -> int:
        """In how many it was sent; 0 when whole."""
        tag = httpx.head(f"{self.address}/{key}").raise_for_status().headers["etag"].strip('"')
        return int(tag.partition("-")[2] or 0)

    def remove(self) -> None:
        """Delete it, with what is in it."""
        for name in self.names():
            httpx.delete(f"{self.address}/{name}", headers=_SOMEBODY).raise_for_status()
        httpx.delete(self.address).raise_for_status()
