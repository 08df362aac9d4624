"""Reads of what the arms found: no more of a text than is used."""

from dataclasses import replace
from datetime import timedelta

import pytest

from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.items import PgItems
from memoryd.stores.units import PgUnits
from retrieval.candidates import PREVIOUS_CHARACTERS
from retrieval.filters import Filters
from retrieval.ports import Query, Turn
from tests.stores.library import CLOCK, clustered, new_library


@pytest.mark.parametrize("then", [False, True])
async def test_of_the_turn_before_only_the_beginning_is_read(database: Database, generation: Generation, then: bool) -> None:
    library = await new_library(database, generation.number)
    texts = ["é" * 200_000, "what came after"]
    turns = [library._prepared(clustered(1, seed=n)[0], "u", n) for n in range(2)]
    turns = [
        replace(one, content=replace(one.content, text=text, session_id="s")) for one, text in zip(turns, texts, strict=True)
    ]
    async with PgUnits(database, CLOCK).begin(library.scope, None) as unit:
        await unit.insert(turns)
    async with database.transaction(library.scope) as connection:
        found = await connection.execute("SELECT pid FROM passages WHERE memory_id = %s", (turns[1].memory_id,))
        (pid,) = await found.fetchone() or (0,)
    query = Query((library.space,), Filters(known_at=CLOCK.now() + timedelta(hours=1)) if then else Filters())
    before = await PgItems(database).preceding(library.scope, query, [pid])
    assert before == {pid: Turn(None, "é" * PREVIOUS_CHARACTERS)}
