"""What the worker's round leaves behind in the stores."""

from memoryd.clock import SystemClock
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.units import PgUnits
from memoryd.wiring import open_maintenance
from tests.stores.library import clustered, new_library


async def test_what_nobody_has_any_more_is_forgotten(settings: Settings, database: Database, generation: Generation) -> None:
    library = await new_library(database, generation.number)
    (memory,) = await library.add(clustered(1, seed=41), users=["u"], buckets=[0])
    async with PgUnits(database, SystemClock()).begin(library.scope, None) as unit:
        await unit.purge(memory)
    count = "SELECT count(*) FROM term_statistics"

    async def terms() -> int:
        async with database.tenant(library.scope.tenant_id) as connection:
            row = await (await connection.execute(count)).fetchone()
        assert row is not None
        return int(row[0])

    assert await terms() > 0
    async with open_maintenance(settings) as maintenance:
        await maintenance.run()
    assert await terms() == 0
