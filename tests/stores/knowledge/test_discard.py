"""Dropping a draft while others drop it, and begin the next."""

from typing import Any
from uuid import UUID

import pytest

from memoryd.errors import StoreUnavailable
from memoryd.stores.database import Database
from memoryd.stores.knowledge import collect as collecting
from memoryd.stores.knowledge import discard as discarding
from retrieval.scope import Scope
from tests.stores.knowledge.shelf import Shelf

OLD, NEW = ["the old rule"], ["the new rule", "and why"]


async def interrupted(shelf: Shelf) -> None:
    """A discard that is begun, and no more."""

    async def down(*_: object) -> bool:
        raise StoreUnavailable("in the middle")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discarding, "_step", down)
        with pytest.raises(StoreUnavailable):
            await shelf.discard()


async def test_garbage_collection_discards_no_draft_that_nobody_discards(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who discarded one finishes that meanwhile, and the next is begun, with its number."""
    await shelf.release(a=OLD)
    await shelf.stage("a", NEW)
    await interrupted(shelf)

    async def after_others(database: Database, scope: Scope, kb_id: UUID) -> None:
        assert await shelf.discard()
        await shelf.stage("b", NEW)
        await discarding.go_on(database, scope, kb_id)

    monkeypatch.setattr(collecting, "go_on", after_others)
    await shelf.collect()
    await shelf.publish()
    assert await shelf.read() == {"a": OLD, "b": NEW}


async def test_a_discard_that_others_finished_takes_nothing_of_what_has_its_number(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is published meanwhile, and the draft after it being discarded."""
    await shelf.release(a=OLD)
    await shelf.stage("a", NEW)
    step = discarding._step

    async def after_others(*where: Any) -> bool:
        monkeypatch.setattr(discarding, "_step", step)
        assert await shelf.discard()
        assert await shelf.release(b=NEW) == 2
        await shelf.stage("c", NEW)
        await interrupted(shelf)
        return await step(*where)

    monkeypatch.setattr(discarding, "_step", after_others)
    await shelf.discard()
    assert await shelf.read() == {"a": OLD, "b": NEW}
    assert not await shelf.discard()
