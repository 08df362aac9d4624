"""Either client of a small service, called in one way."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from typing import Any, TypeVar

import pytest

from memoryd.client import AsyncMemoryd, Memoryd, Retries
from memoryd.client.http import TIMEOUT_S
from tests.client.service import Service
from tests.embedded.conftest import open_folder
from tests.embedded.up import Up

T = TypeVar("T")


@pytest.fixture(scope="package")
def up() -> Iterator[Up]:
    """The whole of it, for all modules of this folder: `memoryd up` with its worker."""
    for folder in open_folder():
        with Up(folder / "data") as running:
            yield running


QUICK = Retries(first_s=0.0)


class Side:
    """A client, and how what it returns becomes a value."""

    def __init__(self, service: Service, *, blocking: bool, retries: Retries = QUICK, timeout_s: float = TIMEOUT_S) -> None:
        self._runner = asyncio.Runner()
        kind = Memoryd if blocking else AsyncMemoryd
        self.client: Any = kind(
            "http://memoryd.test", "mdk_key", retries=retries, timeout_s=timeout_s, transport=service.transport()
        )
        self.knowledge, self.jobs = self.client.knowledge, self.client.jobs

    def value(self, given: T | Coroutine[None, None, T]) -> T:
        """What an operation returned."""
        return self._runner.run(given) if asyncio.iscoroutine(given) else given

    def items(self, given: Generator[T, None, None] | AsyncGenerator[T, None]) -> list[T]:
        """All that an iteration gives."""

        async def all_of(some: AsyncGenerator[T, None]) -> list[T]:
            return [one async for one in some]

        return list(given) if isinstance(given, Generator) else self._runner.run(all_of(given))

    def close(self) -> None:
        """Hang up."""
        self.value(self.client.close())
        self._runner.close()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(params=["blocking", "awaiting"])
def side(request: pytest.FixtureRequest, service: Service) -> Iterator[Side]:
    made = Side(service, blocking=request.param == "blocking")
    yield made
    made.close()
