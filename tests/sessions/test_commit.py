"""Commits by pieces that a model can embed."""

from collections.abc import Sequence

import pytest

from memoryd.memory.model import Draft, Idempotency, Written
from memoryd.sessions.commit import _CHARACTERS
from memoryd.sessions.model import Role
from memoryd.stores.redis import Redis
from retrieval.errors import BatchTooLarge, InferenceUnavailable
from retrieval.scope import Scope
from tests.sessions.conftest import tenant
from tests.sessions.whole import Whole


class Narrow:
    """A memory that refuses more than so many characters at once, and everything after so many writes."""

    def __init__(self, whole: Whole, most: int, *, writes: int = 1_000) -> None:
        self._whole = whole
        self._most = most
        self._left = writes
        self.sizes: list[int] = []

    async def __call__(self, scope: Scope, drafts: Sequence[Draft], idempotency: Idempotency | None) -> list[Written]:
        size = sum(len(draft.content.text) for draft in drafts)
        if size > self._most:
            raise BatchTooLarge("split it")
        if not self._left:
            raise InferenceUnavailable("gone")
        self._left -= 1
        self.sizes.append(size)
        return await self._whole.memory(scope, drafts, idempotency)


@pytest.fixture
def whole(redis: Redis) -> Whole:
    return Whole(redis, tenant(), None)


def turns(count: int, characters: int) -> list[str]:
    return [f"turn {number} ".ljust(characters, ".") for number in range(count)]


async def test_what_the_model_takes_too_long_for_is_committed_by_smaller_pieces(whole: Whole) -> None:
    said = turns(100, 500)
    await whole.say("s", *said)
    whole.commit._remember = narrow = Narrow(whole, 6_000)
    done = await whole.commit(whole.scope, "s")
    assert (done.created, done.duplicates, done.passed_over, done.through) == (100, 0, 0, 100)
    assert whole.memory.texts == said
    assert len(narrow.sizes) == 9  # it halved until it was taken, and stayed there
    # Down to one message.
    whole.commit._remember = Narrow(whole, 499)
    await whole.say("t", *turns(8, 499))
    assert (await whole.commit(whole.scope, "t")).created == 8
    await whole.say("u", "short", *turns(1, 500), "short too")
    with pytest.raises(BatchTooLarge):
        await whole.commit(whole.scope, "u")
    assert whole.memory.texts[-1] == "short"


async def test_each_piece_is_noted_when_it_is_stored(whole: Whole) -> None:
    await whole.say("s", *turns(10, 500))
    whole.commit._remember = Narrow(whole, 1_000, writes=2)
    with pytest.raises(InferenceUnavailable):
        await whole.commit(whole.scope, "s")
    session = await whole.sessions.get(whole.scope, "s")
    assert session.committed == ((1, 4),)
    whole.commit._remember = Narrow(whole, 10_000)
    done = await whole.commit(whole.scope, "s")
    assert (done.created, done.duplicates, done.through) == (6, 0, 10)


async def test_a_piece_has_few_characters_and_what_is_passed_over_counts_for_none(whole: Whole) -> None:
    for _ in range(3):
        await whole.say("s", *turns(60, 900))
    whole.commit._remember = narrow = Narrow(whole, 10**9)
    done = await whole.commit(whole.scope, "s", frozenset({Role.ASSISTANT}))
    assert (done.created, done.passed_over, narrow.sizes) == (0, 180, [])
    await whole.say("t", *turns(180, 900))
    assert (await whole.commit(whole.scope, "t")).created == 180
    assert len(narrow.sizes) == 2
    assert max(narrow.sizes) <= _CHARACTERS
