"""The format of a snapshot: a line that names it, then zlib-compressed lines of JSON.

::

    memoryd-session 1 sha256=<of everything after this line>\\n
    zlib( {"tenant": …, "session": …, "taken_at": …, "revision": …, "parts": n}\\n
          {"part": "messages", "kind": "stream", "values": ["1", "{…}", …]}\\n … )

A reader takes version 1 and refuses what it does not know. Unknown parts of a newer minor writer do not exist in version 1.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from uuid import UUID

from memoryd.errors import ServiceError
from memoryd.sessions.ports import Image, Part

VERSION = 1
_FIRST_LINE = re.compile(rb"memoryd-session (\d{1,4}) sha256=([0-9a-f]{64})\n")
# A session is a few megabytes at most; a bomb of zeros is not read to its end.
_MOST_BYTES = 512 * 2**20


class SnapshotCorrupt(ServiceError):
    """No snapshot of the session can be read."""

    code, status, title = "snapshot_corrupt", 500, "Snapshot corrupt"


def encode(tenant_id: UUID, image: Image) -> bytes:
    """The object's bytes."""
    session = image.session
    header = {
        "tenant": str(tenant_id),
        "session": session.session_id,
        "taken_at": image.read_at.isoformat(),
        "revision": session.revision,
        "parts": len(image.parts),
    }
    lines = [header, *({"part": part.name, "kind": part.kind, "values": part.values} for part in image.parts)]
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    body = zlib.compress(text.encode(), level=3)
    return f"memoryd-session {VERSION} sha256={hashlib.sha256(body).hexdigest()}\n".encode() + body


def decode(tenant_id: UUID, session_id: str, data: bytes) -> Sequence[Part]:
    """The parts. Raises ``SnapshotCorrupt`` for what is damaged, too new, or of another session."""
    first = _FIRST_LINE.match(data)
    if first is None:
        raise SnapshotCorrupt("this is no snapshot of a session")
    if int(first[1]) != VERSION:
        raise SnapshotCorrupt(f"the snapshot is of format {int(first[1])}; this version reads {VERSION}")
    body = data[first.end() :]
    if hashlib.sha256(body).hexdigest().encode() != first[2]:
        raise SnapshotCorrupt("the snapshot's checksum is wrong")
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(body, _MOST_BYTES)
    if not unpacker.eof:
        raise SnapshotCorrupt("the snapshot is larger than a session can be")
    header, *lines = [json.loads(line) for line in text.decode().split("\n") if line]
    if (header["tenant"], header["session"]) != (str(tenant_id), session_id):
        raise SnapshotCorrupt("the snapshot is of another session")
    if header["parts"] != len(lines):
        raise SnapshotCorrupt("the snapshot is incomplete")
    return [Part(line["part"], line["kind"], tuple(line["values"])) for line in lines]
