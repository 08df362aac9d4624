"""What an operation asks of the world, step by step.

An operation is written once, as a generator: it yields steps, is sent what became of them, and returns its result. It does no
I/O itself; :mod:`memoryd.client.blocking` and :mod:`memoryd.client.awaiting` each perform the steps in their own way. A *flow*
also yields :class:`Give`, an item for the caller.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Generic, TypeAlias, TypeVar, cast

from pydantic import JsonValue

T = TypeVar("T")
Item = TypeVar("Item")

Query: TypeAlias = Mapping[str, str | int | Sequence[str]]
"""What has several values is repeated."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a form; ``open`` is called again for every attempt."""

    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. ``path`` is percent-encoded. ``answer_s``: how long the service may be silent before it answers, and between
    two pieces of its answer, where that is not the client's own ``timeout_s``. Every request may be sent again: it reads, is
    idempotent, or has an ``Idempotency-Key``."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: JsonValue = None
    parts: Sequence[Part] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    answer_s: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``content`` is empty for a stream, whose pieces are read one by one. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer, or no end of one. ``part``: it could not be sent, because this file of the form could not be read."""

    cause: Exception
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send and read the whole answer. Reply: ``Answer | Lost``."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send, and leave the answer's body to be read if it is a good one. Reply: ``Answer | Lost``. Ends the stream before it."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """The next piece of what was opened. Reply: ``bytes | None | Lost``; ``None`` is its end."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. Reply: ``None``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """Work on files: it may block. Reply: its result."""

    work: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Give(Generic[Item]):
    """An item for whoever iterates. Reply: ``None``."""

    item: Item


Step: TypeAlias = Send | Open | Read | Sleep | Do
Steps: TypeAlias = Generator[Step, object, T]
Flow: TypeAlias = Generator[Step | Give[Item], object, None]


def opened(request: Request) -> Steps[Answer | Lost]:
    """:class:`Open`, with its type."""
    return cast(Answer | Lost, (yield Open(request)))


def sent(request: Request) -> Steps[Answer | Lost]:
    """:class:`Send`, with its type."""
    return cast(Answer | Lost, (yield Send(request)))


def read() -> Steps[bytes | Lost | None]:
    """:class:`Read`, with its type."""
    return cast(bytes | Lost | None, (yield Read()))


def done(work: Callable[[], T]) -> Steps[T]:
    """:class:`Do`, with its type."""
    return cast(T, (yield Do(work)))


def each(flow: Flow[Item], use: Callable[[Item], bool]) -> Steps[None]:
    """Use every item of a flow inside an operation, until ``use`` says true: enough."""
    reply: object = None
    while True:
        try:
            step = flow.send(reply)
        except StopIteration:
            return
        if isinstance(step, Give):
            reply = None
            if use(step.item):
                flow.close()
                return
        else:
            reply = yield step
