"""How vectors and what must be said of them travel between memoryd's inference server and its clients."""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval.vectors import Vectors

MODEL: Final = "X-Memoryd-Model"
REVISION: Final = "X-Memoryd-Revision"
SHAPE: Final = "X-Memoryd-Shape"
"""Rows and columns, such as ``16,384``."""
DEADLINE: Final = "X-Deadline-Ms"
"""Of a request: so many milliseconds from now its answer is of no use any more."""
OWNER: Final = "X-Memoryd-Owner"
"""Of a request: whose work it is, any text; owners take turns."""
RAW: Final = "application/octet-stream"

_FLOAT: Final = np.dtype("<f4")


def to_bytes(vectors: Vectors) -> bytes:
    """Little-endian float32, row after row."""
    return vectors.astype(_FLOAT, copy=False).tobytes()


def shape_of(vectors: Vectors) -> str:
    """The value of :data:`SHAPE`."""
    return f"{vectors.shape[0]},{vectors.shape[1]}"


def from_bytes(body: bytes, shape: str) -> Vectors:
    """What :func:`to_bytes` made of an array of this :func:`shape_of`. Raises ``ValueError`` when the two do not fit."""
    rows, _, columns = shape.partition(",")
    flat = np.frombuffer(body, dtype=_FLOAT)
    vectors: Vectors = flat.reshape(int(rows), int(columns)).astype(np.float32)
    return vectors
