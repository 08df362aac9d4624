"""One method for both clients: written as steps, it is an ordinary call on one and a coroutine on the other."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

from memoryd.client.awaiting import Awaiting
from memoryd.client.blocking import Blocking
from memoryd.client.retries import Retries
from memoryd.client.steps import Flow, Steps

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Group = TypeVar("Group", bound="Operations")


class Operations:
    """A group of operations. Which of the two clients it belongs to is said by a subclass."""

    side: Blocking | Awaiting

    @property
    def retries(self) -> Retries:
        """When requests are sent again."""
        return self.side.settings.retries


class OfBlocking(Protocol):
    """A group whose operations are ordinary calls."""

    side: Blocking


class OfAwaiting(Protocol):
    """A group whose operations are coroutines."""

    side: Awaiting


class Operation(Generic[Group, P, T]):
    """Makes a method of a generator of steps; ``steps`` is the generator, for other operations."""

    def __init__(self, steps: Callable[Concatenate[Group, P], Steps[T]]) -> None:
        self.steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, group: None, kind: type) -> Self: ...
    @overload
    def __get__(self, group: OfBlocking, kind: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, group: OfAwaiting, kind: type) -> Callable[P, Coroutine[None, None, T]]: ...
    def __get__(self, group: object, kind: type) -> object:
        if group is None:
            return self
        owner, steps = cast(Group, group), self.steps

        @wraps(steps)
        def call(*args: P.args, **kwargs: P.kwargs) -> T | Coroutine[None, None, T]:
            return owner.side.run(steps(owner, *args, **kwargs))

        return call


class Iteration(Generic[Group, P, Item]):
    """The same of a flow: its items are iterated, with ``for`` on one client and ``async for`` on the other."""

    def __init__(self, flow: Callable[Concatenate[Group, P], Flow[Item]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, group: None, kind: type) -> Self: ...
    @overload
    def __get__(self, group: OfBlocking, kind: type) -> Callable[P, Generator[Item, None, None]]: ...
    @overload
    def __get__(self, group: OfAwaiting, kind: type) -> Callable[P, AsyncGenerator[Item, None]]: ...
    def __get__(self, group: object, kind: type) -> object:
        if group is None:
            return self
        owner, flow = cast(Group, group), self.flow

        @wraps(flow)
        def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Item, None, None] | AsyncGenerator[Item, None]:
            return owner.side.iterate(flow(owner, *args, **kwargs))

        return call
