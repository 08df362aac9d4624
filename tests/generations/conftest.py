"""A world of three small models and a tenant in it."""

from collections.abc import AsyncIterator

import pytest

from tests.generations.tiny import Tiny
from tests.generations.world import Tenant, World, new_world
from tests.stack import Stack

A, B, C = Tiny("a", 8), Tiny("b", 12), Tiny("c", 5)
TEXTS = [f"memory number {n}" for n in range(150)]


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    made = await new_world(stack, "generations_life", [A, B, C])
    yield made
    await made.shelf.close()
    await made.database.close()


@pytest.fixture
async def tenant(world: World) -> Tenant:
    return await world.tenant()
