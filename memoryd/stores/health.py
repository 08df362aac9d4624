"""Is the database what the service needs: extension, roles, migrations."""

from memoryd.stores.database import Database
from memoryd.stores.migrate import available

_VECTOR = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
_ROLE = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
_TABLES = "SELECT to_regclass('memoryd.embeddings') IS NOT NULL"


async def schema_health(database: Database) -> list[tuple[str, bool, str]]:
    """(name, well, detail) of each thing looked at. Raises ``StoreUnavailable``."""
    async with database.shared() as connection:
        vector = await (await connection.execute(_VECTOR)).fetchone()
        role = await (await connection.execute(_ROLE)).fetchone()
        tables = await (await connection.execute(_TABLES)).fetchone()
    version = str(vector[0]) if vector else "0"
    recent = tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= (0, 8)
    held = role is not None and not role[0]
    migrated = tables is not None and bool(tables[0])
    return [
        ("pgvector", recent, f"version {version}" if vector else "the extension is not installed"),
        ("role", held, "held to row security" if held else "the service role could bypass row security"),
        ("schema", migrated, f"{len(available())} migrations known" if migrated else "the tables are not there"),
    ]
