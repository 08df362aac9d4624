-- Tenants, spaces, API keys, audit, idempotency. Every tenant table: tenant_id in every key, forced row security.
GRANT USAGE ON SCHEMA memoryd TO memoryd_service, memoryd_operator;

-- The tenant of the running transaction; NULL (hence no rows) when nothing set it.
CREATE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('memoryd.tenant_id', true), '')::uuid;

CREATE TABLE tenants (
    tenant_id  uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    suspended_at timestamptz
);

CREATE TABLE spaces (
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    space_id    uuid NOT NULL,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    description text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, space_id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE api_keys (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    key_id       uuid NOT NULL,
    name         text NOT NULL,
    secret_hash  bytea NOT NULL,          -- SHA-256 of a 256-bit random secret; nothing to brute-force
    actions      text[] NOT NULL,
    spaces       text[],                  -- NULL: every space of the tenant
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    rotated_from uuid,
    PRIMARY KEY (tenant_id, key_id)
);

CREATE TABLE audit_log (
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    audit_id    bigint GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT now(),
    principal   text NOT NULL,
    action      text NOT NULL,
    object_type text NOT NULL,
    object_ids  uuid[] NOT NULL DEFAULT '{}',
    request_id  text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}',   -- counts and reasons; never content
    PRIMARY KEY (tenant_id, audit_id)
);

CREATE TABLE idempotency_keys (
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    principal   text NOT NULL,
    key         text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL,           -- SHA-256 of method, path and body
    status      integer,
    response    jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, principal, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (tenant_id, created_at);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tenants', 'spaces', 'api_keys', 'audit_log', 'idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_isolation ON %I TO memoryd_service
                        USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    END LOOP;
END $$;

GRANT SELECT ON tenants TO memoryd_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON spaces, api_keys, idempotency_keys TO memoryd_service;
GRANT SELECT, INSERT ON audit_log TO memoryd_service;   -- append-only

-- The operator sees the list of tenants, and nothing that is theirs.
CREATE POLICY operator_all ON tenants TO memoryd_operator USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON tenants TO memoryd_operator;
