"""Array parameters in PostgreSQL's binary format, encoded by numpy.

psycopg encodes a list element by element, on the event loop: three seconds for the postings of a thousand long memories.
These are encoded at once, in any thread, and the driver only hands the bytes on. Each needs a cast in the SQL
(``%(terms)s::bigint[]``), from which the server takes its type.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from psycopg import AsyncConnection, pq
from psycopg.adapt import Buffer, Dumper
from psycopg.rows import TupleRow

_BOOL, _INT8, _INT2, _INT4, _UUID = 16, 20, 21, 23, 2950


@dataclass(frozen=True, slots=True)
class Encoded:
    """A parameter that is encoded already."""

    data: bytes


def register(connection: AsyncConnection[TupleRow]) -> None:
    """Teach a connection to send them."""
    connection.adapters.register_dumper(Encoded, _EncodedDumper)


def int8s(values: ArrayLike) -> Encoded:
    """``bigint[]`` of one dimension."""
    return _array(values, ">i8", _INT8)


def int4s(values: ArrayLike) -> Encoded:
    """``int[]``."""
    return _array(values, ">i4", _INT4)


def int2s(values: ArrayLike) -> Encoded:
    """``smallint[]``."""
    return _array(values, ">i2", _INT2)


def bools(values: ArrayLike) -> Encoded:
    """``bool[]``."""
    return _array(values, "?", _BOOL)


def uuids(values: Sequence[UUID]) -> Encoded:
    """``uuid[]``."""
    return _array(np.frombuffer(b"".join(value.bytes for value in values), dtype="V16"), "V16", _UUID)


def _array(values: ArrayLike, element: DTypeLike, oid: int) -> Encoded:
    given = np.asarray(values, dtype=element)
    if not given.size:
        return Encoded(np.array([0, 0, oid], dtype=">u4").tobytes())
    # One dimension, no nulls, the element's type, n elements from index 1; then each with its length.
    head = np.array([1, 0, oid, given.size, 1], dtype=">u4")
    elements = np.empty(given.size, dtype=[("length", ">u4"), ("value", element)])
    elements["length"] = given.dtype.itemsize
    elements["value"] = given
    return Encoded(head.tobytes() + elements.tobytes())


class _EncodedDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Encoded) -> Buffer:
        return obj.data
