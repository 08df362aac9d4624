"""Is the database what the service needs: extension, roles, migrations."""

from memoryd.stores.database import Database
from memoryd.stores.migrate import difference

_VECTOR = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
_ROLE = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"


async def schema_health(database: Database) -> list[tuple[str, bool, str]]:
    """(name, well, detail) of each thing looked at. Raises ``StoreUnavailable``."""
    async with database.shared() as connection:
        vector = await (await connection.execute(_VECTOR)).fetchone()
        role = await (await connection.execute(_ROLE)).fetchone()
    version = str(vector[0]) if vector else "0"
    recent = tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= (0, 8)
    held = role is not None and not role[0]
    between = await difference(database)
    if between.missing:
        migrations = f"{', '.join(between.missing)} not applied"
    elif between.unknown:
        migrations = f"newer than this program: {', '.join(between.unknown)} (it may work; upgrade memoryd)"
    else:
        migrations = "all migrations applied"
    return [
        ("pgvector", recent, f"version {version}" if vector else "the extension is not installed"),
        ("role", held, "held to row security" if held else "the service role could bypass row security"),
        ("schema", not between.missing, migrations),
    ]
