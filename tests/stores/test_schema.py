"""Row security, read off the catalogue: a table that is added without it fails here."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from memoryd.settings import Settings
from tests.stack import Stack

# Tables without tenants' data, or of which the service may read its tenant's rows only (`generations`).
SHARED = {"generations", "hnsw_graphs", "migrations"}
# Of these the operator reads rows of all tenants: which of their generations lack vectors.
OPERATOR_READS = {"generation_gaps"}
# The operator's, of which the service sees nothing without its role.
OPERATORS = {"operator_log", "operator_idempotency_keys"}


@pytest.fixture
def catalogue(stack: Stack, settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.superuser_url) as connection:
        yield connection


def _tables(catalogue: psycopg.Connection) -> dict[str, tuple[bool, bool]]:
    rows = catalogue.execute(
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class "
        "WHERE relnamespace = 'memoryd'::regnamespace AND relkind IN ('r', 'p')"
    ).fetchall()
    return {name: (enabled, forced) for name, enabled, forced in rows}


def _parts(catalogue: psycopg.Connection) -> set[str]:
    """The tables of single generations, which only their whole may be asked for."""
    rows = catalogue.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'memoryd.embeddings'::regclass"
    ).fetchall()
    return {str(name).removeprefix("memoryd.") for (name,) in rows if "_hnsw_" not in name}


def test_every_table_with_tenants_data_has_a_tenant_and_forced_row_security(catalogue: psycopg.Connection) -> None:
    tables = _tables(catalogue)
    assert set(tables) >= {"memories", "passages", "embeddings", "api_keys", *SHARED}
    with_tenant = {
        row[0]
        for row in catalogue.execute(
            "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "WHERE c.relnamespace = 'memoryd'::regnamespace AND c.relkind IN ('r', 'p') "
            "AND a.attname = 'tenant_id' AND a.attnotnull"
        )
    }
    assert set(tables) - SHARED - OPERATORS == with_tenant
    assert {name for name in with_tenant | OPERATORS if tables[name] != (True, True)} == set()


def test_every_policy_of_the_service_is_the_tenants(catalogue: psycopg.Connection) -> None:
    policies = catalogue.execute(
        "SELECT tablename, policyname, roles::text[], qual, with_check, cmd FROM pg_policies WHERE schemaname = 'memoryd'"
    ).fetchall()
    isolated = set()
    for table, name, roles, qual, check, command in policies:
        if roles == ["memoryd_operator"] and table == "audit_log":
            assert "deleted_at IS NOT NULL" in qual, "of tenants that are being erased"
            continue
        if table == "generations":
            seen = "((tenant_id IS NULL) OR (tenant_id = memoryd.current_tenant()))"
            service = (["memoryd_service"], seen, None, "SELECT")
            assert (roles, qual, check, command) in (service, (["memoryd_operator"], "true", "true", "ALL")), name
            continue
        if roles == ["memoryd_operator"] and table in OPERATOR_READS:
            assert (qual, check, command) == ("true", None, "SELECT"), name
            continue
        if roles == ["memoryd_operator"]:
            assert table in {"tenants", *OPERATORS}, "the operator sees the list of tenants and its own"
            continue
        assert roles == ["memoryd_service"]
        only = "(tenant_id = memoryd.current_tenant())"
        assert (qual, check, command) == (only, only, "ALL"), name
        isolated.add(table)
    assert isolated == set(_tables(catalogue)) - SHARED - OPERATORS


def test_tenant_is_in_every_key(catalogue: psycopg.Connection) -> None:
    """Primary, unique and foreign keys of tenant tables begin with the tenant."""
    keys = catalogue.execute(
        "SELECT c.conrelid::regclass::text, c.conname, c.contype::text, "
        "  array(SELECT a.attname::text FROM unnest(c.conkey) k JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k) "
        "FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid "
        "WHERE r.relnamespace = 'memoryd'::regnamespace AND c.contype IN ('p', 'u', 'f')"
    ).fetchall()
    for table, name, kind, columns in keys:
        table = table.removeprefix("memoryd.")
        if table in SHARED | OPERATORS or (table, kind) == ("tenants", "u") or columns in (["generation"], ["graph"]):
            continue
        assert columns[0] == "tenant_id", f"{table}.{name}: {columns}"


def test_service_role_cannot_bypass_and_owns_nothing(catalogue: psycopg.Connection) -> None:
    roles = {
        name: flags
        for name, *flags in catalogue.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit FROM pg_roles "
            "WHERE rolname LIKE 'memoryd%'"
        )
    }
    assert roles["memoryd_service"] == [False, False, False, False, False]
    assert roles["memoryd_owner"][:4] == [False] * 4
    assert roles["memoryd_operator"][:4] == [False] * 4
    owned = catalogue.execute(
        "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner "
        "WHERE r.rolname IN ('memoryd_service', 'memoryd_operator')"
    ).fetchone()
    assert owned == (0,)


def test_without_a_tenant_there_are_no_rows(stack: Stack, catalogue: psycopg.Connection) -> None:
    with psycopg.connect(stack.service_url) as service:
        for table in sorted(OPERATORS):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                service.execute(f"SELECT count(*) FROM memoryd.{table}")  # noqa: S608
        for table in sorted(set(_tables(catalogue)) - SHARED - OPERATORS - _parts(catalogue)):
            assert service.execute(f"SELECT count(*) FROM memoryd.{table}").fetchone() == (0,), table  # noqa: S608
        with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
            service.execute("INSERT INTO memoryd.tenants (tenant_id, name) VALUES (gen_random_uuid(), 'x')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
            service.execute(
                "INSERT INTO memoryd.spaces (tenant_id, space_id, name) SELECT gen_random_uuid(), gen_random_uuid(), 'x'"
            )


def test_the_vectors_of_one_generation_are_reached_through_all_of_them_only(stack: Stack, catalogue: psycopg.Connection) -> None:
    assert "embeddings_1" in _parts(catalogue)
    with psycopg.connect(stack.service_url) as service:
        for table in sorted(_parts(catalogue)):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                service.execute(f"SELECT count(*) FROM memoryd.{table}")  # noqa: S608
        for table in ("generations", "generation_gaps"):
            assert service.execute(f"SELECT count(*) FROM memoryd.{table} WHERE tenant_id IS NOT NULL").fetchone() == (0,)  # noqa: S608
        for change in ("UPDATE memoryd.generations SET paused = true", "SELECT memoryd.drop_vectors_table(1)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                service.execute(change)


def test_operator_role_sees_tenants_and_its_own_only(stack: Stack, catalogue: psycopg.Connection) -> None:
    with psycopg.connect(stack.service_url) as service, service.transaction():
        service.execute("SET LOCAL ROLE memoryd_operator")
        service.execute("SELECT count(*) FROM memoryd.tenants")
        for table in sorted(set(_tables(catalogue)) - SHARED - OPERATORS - OPERATOR_READS - {"tenants"}):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                service.execute(f"SELECT * FROM memoryd.{table}")  # noqa: S608


def test_the_operator_erases_the_log_of_a_tenant_that_is_being_deleted_only(stack: Stack, catalogue: psycopg.Connection) -> None:
    tenants = {name: uuid4() for name in ("kept", "deleted")}
    for name, tenant in tenants.items():
        catalogue.execute(
            "INSERT INTO memoryd.tenants (tenant_id, name, deleted_at) VALUES (%s, %s, %s)",
            (tenant, f"{name}-{tenant}", datetime.now(UTC) if name == "deleted" else None),
        )
        catalogue.execute(
            "INSERT INTO memoryd.audit_log (tenant_id, principal, action, object_type, request_id) "
            "VALUES (%s, 'test', 'test', 'test', 'test')",
            (tenant,),
        )
    catalogue.commit()
    with psycopg.connect(stack.service_url) as service, service.transaction():
        service.execute("SET LOCAL ROLE memoryd_operator")
        both = (list(tenants.values()),)
        seen = service.execute("SELECT tenant_id FROM memoryd.audit_log WHERE tenant_id = ANY(%s)", both).fetchall()
        assert seen == [(tenants["deleted"],)]
        assert service.execute("DELETE FROM memoryd.audit_log WHERE tenant_id = ANY(%s)", both).rowcount == 1
    catalogue.execute("DELETE FROM memoryd.tenants WHERE tenant_id = ANY(%s)", (list(tenants.values()),))
    catalogue.commit()


@pytest.mark.usefixtures("settings")
def test_audit_logs_are_append_only(stack: Stack) -> None:
    with psycopg.connect(stack.service_url) as service:
        for statement in ("UPDATE memoryd.audit_log SET action = 'x'", "DELETE FROM memoryd.audit_log"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                service.execute(statement)
        for statement in ("UPDATE memoryd.operator_log SET action = 'x'", "DELETE FROM memoryd.operator_log"):
            with service.transaction():
                service.execute("SET LOCAL ROLE memoryd_operator")
                with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                    service.execute(statement)
