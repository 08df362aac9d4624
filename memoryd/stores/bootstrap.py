"""What only a superuser can do, once: the database, its three roles and the vector extension."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from memoryd.stores.database import Translated
from memoryd.stores.migrate import folder
from memoryd.stores.names import DATABASE


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of the two roles that log in."""

    owner: str
    service: str


def bootstrap(superuser_url: str, passwords: Passwords) -> None:
    """Create database, roles and extension where they are missing; set the passwords. Safe to repeat.

    Raises ``StoreUnavailable``.
    """
    with Translated(), psycopg.connect(superuser_url, dbname="postgres", autocommit=True, connect_timeout=5) as connection:
        # A row without columns is an empty tuple, so the row itself is asked for and not its truth.
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    with Translated(), psycopg.connect(superuser_url, dbname=DATABASE, autocommit=True, connect_timeout=5) as connection:
        connection.execute((folder() / "roles.sql").read_bytes())
        for role, password in (("memoryd_owner", passwords.owner), ("memoryd_service", passwords.service)):
            # The server must not write the password to its log, whatever its settings.
            connection.execute("SET log_statement = 'none'")
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
