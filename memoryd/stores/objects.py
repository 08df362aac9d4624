""":class:`memoryd.sessions.ports.Objects` through obstore: a local folder, or a store that speaks S3, GCS or Azure.

The library's blocking calls run in threads. Its asynchronous ones finish on threads of its own, which may still be about to
call back while the interpreter shuts down, and then abort the process.
"""

import os
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from memoryd.errors import InvalidRequest, StoreUnavailable
from memoryd.threads import Threads

Answer = TypeVar("Answer")

_RETRIES = 2
_THREADS = 8
_ERASED_AT_ONCE = 500
_PIECE_BYTES = 2**20
_PART_BYTES = 5 * 2**20
# Parts of a file on their way at once: they are in memory, and share the network within a request's timeout.
_PARTS_AT_ONCE = 2
# A file may take this long as a whole, as long as something moves.
_FILE_TIMEOUT = timedelta(hours=1)
# What a 404 says where the whole bucket is missing: every object would seem to be gone, and every deletion done.
_NO_STORE = ("NoSuchBucket", "ContainerNotFound")
_VARIABLES = {"gs": "GOOGLE"} | dict.fromkeys(("az", "azure", "adl", "abfs", "abfss"), "AZURE")


class ObstoreObjects:
    """Objects below a folder's path, or below a URL such as ``s3://bucket/prefix``; credentials from the environment.

    It has threads of its own: a store that hangs holds up nothing else. ``timeout_s`` is for a request, from connecting to the
    last byte of the answer; where objects are files or read in pieces, it is for any pause in the answer, since a large one over
    a slow network, or for a slow reader, takes longer.
    """

    def __init__(self, where: str, *, timeout_s: float) -> None:
        whole = timedelta(seconds=timeout_s)
        self._store = _opened(where, timeout=whole, pause=whole)
        self._files = _opened(where, timeout=_FILE_TIMEOUT, pause=whole)
        self._threads = Threads("objects", _THREADS)

    async def put(self, key: str, data: bytes) -> None:
        await self.put_all([(key, data)])

    async def put_all(self, some: Sequence[tuple[str, bytes]]) -> None:
        """Store a few, one after the other: a thread that is told of each takes longer than a short one to be stored."""

        def put() -> None:
            for key, data in some:
                # What is in memory needs no buffer of a part's size, which takes longer to be had than that.
                parts = len(data) > _PART_BYTES
                obstore.put(self._store, key, data, use_multipart=parts, chunk_size=_PART_BYTES)

        await self._run(put)

    async def get(self, key: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError as error:
                _only_the_object(error)
                return None

        return await self._run(read)

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file, in parts where it is large: never in memory whole."""
        await self._run(lambda: obstore.put(self._files, key, path, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE))

    async def get_file(self, key: str, path: Path) -> bool:
        """Copy an object into a file, which is written anew; false when there is none. Without all of it there is no file."""

        def copy(file: BinaryIO) -> bool:
            try:
                found = obstore.get(self._files, key)
            except FileNotFoundError as error:
                _only_the_object(error)
                return False
            if found.meta["size"] <= _PIECE_BYTES:
                file.write(found.bytes())
                return True
            for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                file.write(piece)
            return True

        # Opened and closed here: a thread that goes on when nobody waits for it any more would make a file that was removed.
        found = False
        try:
            with path.open("wb") as file:
                found = await self._run(partial(copy, file))
        finally:
            if not found:
                _remove(path)
        return found

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""

        def look() -> bool:
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                return False
            return True

        return await self._run(look)

    async def pieces(self, key: str) -> AsyncGenerator[bytes, None] | None:
        """An object in pieces of about a mebibyte; ``None`` when there is none."""

        def begin() -> Iterator[bytes] | None:
            try:
                return iter(obstore.get(self._files, key).stream(min_chunk_size=_PIECE_BYTES))
            except FileNotFoundError as error:
                _only_the_object(error)
                return None

        found = await self._run(begin)
        return None if found is None else self._read(found)

    async def _read(self, found: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        while (piece := await self._run(lambda: next(found, None))) is not None:
            yield piece

    async def delete(self, keys: Sequence[str]) -> None:
        await self._run(lambda: self._remove(keys))

    async def clear(self, prefix: str) -> None:
        def remove() -> None:
            for found in obstore.list(self._store, prefix, chunk_size=_ERASED_AT_ONCE):
                keys = [one["path"] for one in found]
                try:
                    obstore.delete(self._store, keys)
                except FileNotFoundError:
                    # Another clears the same, and was faster with one of them; what this call left undone is not told.
                    self._remove(keys)
            if isinstance(self._store, LocalStore) and self._store.prefix is not None:
                # Half-written files, which a list does not show, and the folders.
                shutil.rmtree(self._store.prefix / prefix, ignore_errors=True)

        await self._run(remove)

    async def erase(self, tenant_id: UUID) -> None:
        """Remove every object of a tenant: their keys begin with its id (see :class:`memoryd.access.ports.Eraser`)."""
        await self.clear(f"{tenant_id}/")

    def _remove(self, keys: Sequence[str]) -> None:
        """One by one; those that are gone are no matter."""
        for key in keys:
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError as error:
                _only_the_object(error)

    async def _run(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await self._threads.run(work)
        except (BaseError, OSError) as error:
            raise StoreUnavailable("object storage cannot be reached") from error


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _only_the_object(error: FileNotFoundError) -> None:
    """Raises ``error`` where not the object is missing but the whole bucket."""
    if any(code in str(error) for code in _NO_STORE):
        raise error


def _opened(where: str, *, timeout: timedelta, pause: timedelta) -> ObjectStore:
    scheme = urlsplit(where).scheme
    if scheme in {"", "file"}:
        return LocalStore(prefix=Path(urlsplit(where).path if scheme else where).expanduser().absolute(), mkdir=True)
    try:
        return from_url(
            where,
            # These replace what the library takes from the environment for its client, so that this one is passed on.
            client_options={
                "allow_http": _is_set(f"{_VARIABLES.get(scheme, 'AWS')}_ALLOW_HTTP"),
                "timeout": timeout,
                "read_timeout": pause,
                "connect_timeout": pause,
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": pause},
        )
    except (BaseError, ValueError) as error:
        raise InvalidRequest(f"MEMORYD_OBJECT_STORE: {scheme}:// with this setting cannot be used") from error


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in {"1", "true", "on", "yes", "y"}
