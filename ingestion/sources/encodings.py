"""Bodies that servers pack, unpacked a bounded piece at a time, so that a small answer cannot become a large one in memory."""

import zlib
from collections.abc import Callable, Iterator

from ingestion.sources.errors import Reason, SourceRefused

_PIECE_BYTES = 1 << 16
_EITHER = zlib.MAX_WBITS | 32
_MEMBER = b"\x1f\x8b"

Decode = Callable[[bytes], Iterator[bytes]]
"""Unpacks what came; an empty piece says that nothing more comes. Raises ``SourceRefused``."""


def decoder(encoding: str) -> Decode:
    """For the value of ``Content-Encoding``. Raises ``SourceRefused`` for one that we did not offer to take."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _plain
    if name in ("gzip", "x-gzip", "deflate"):
        return _Inflate().__call__
    raise SourceRefused(Reason.BAD_ENCODING, "the server packs its answer in a way that was not asked for")


def _plain(data: bytes) -> Iterator[bytes]:
    if data:
        yield data


class _Inflate:
    """gzip or zlib, told apart by their first bytes. gzip may come in several members; what else is behind an end is passed
    over."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=_EITHER)
        # What tells whether what is behind an end is another member.
        self._behind = b""

    def __call__(self, data: bytes) -> Iterator[bytes]:
        if not data and not self._stream.eof:
            raise SourceRefused(Reason.BAD_ENCODING, "the packed answer ends too early", retryable=True)
        try:
            while data:
                if self._stream.eof:
                    behind = self._behind + data
                    self._behind = behind[: len(_MEMBER)]
                    if self._behind != _MEMBER:
                        return
                    data, self._behind, self._stream = behind, b"", zlib.decompressobj(wbits=_EITHER)
                yield self._stream.decompress(data, _PIECE_BYTES)
                data = self._stream.unconsumed_tail or self._stream.unused_data
        except zlib.error as error:
            raise SourceRefused(Reason.BAD_ENCODING, "the answer is not packed as it says") from error
