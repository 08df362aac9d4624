"""Which embedding generation serves reads."""

from dataclasses import dataclass

from memoryd.stores.database import Database

_LIVE = "SELECT generation, model, revision, dimension FROM generations WHERE state = 'live'"


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's vectors: comparable with each other, and with nothing else."""

    number: int
    model: str
    revision: str
    dimension: int


async def live_generation(database: Database) -> Generation | None:
    """The live generation, or ``None`` in a database that was not migrated for a model yet."""
    async with database.shared() as connection:
        row = await (await connection.execute(_LIVE)).fetchone()
    return Generation(*row) if row else None
