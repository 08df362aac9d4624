-- Run once by a superuser or a managed database's admin, in the database that memoryd will use.
-- Passwords are set afterwards: ALTER ROLE memoryd_owner PASSWORD '…'; ALTER ROLE memoryd_service PASSWORD '…';
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'memoryd_owner') THEN
        CREATE ROLE memoryd_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'memoryd_service') THEN
        CREATE ROLE memoryd_service LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'memoryd_operator') THEN
        CREATE ROLE memoryd_operator NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
END $$;
-- The service does not inherit the operator's rights; it must say SET LOCAL ROLE. Since PostgreSQL 16 a grant takes
-- the member's INHERIT attribute when it is made, so the order matters.
ALTER ROLE memoryd_service NOINHERIT;
GRANT memoryd_operator TO memoryd_service;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS memoryd AUTHORIZATION memoryd_owner;
ALTER ROLE memoryd_owner SET search_path = memoryd, public;
ALTER ROLE memoryd_service SET search_path = memoryd, public;
