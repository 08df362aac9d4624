-- What the operator did, also to tenants that are gone, and its idempotency keys. Nothing of a tenant but its id and name;
-- `tenant` has no foreign key, since the entry about a deletion outlives the tenant.
CREATE TABLE operator_log (
    entry_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    action     text NOT NULL,
    tenant     uuid NOT NULL,
    request_id text NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE operator_idempotency_keys (
    key         text PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL,           -- SHA-256 of method, path and body
    response    jsonb,
    created_at  timestamptz NOT NULL
);

-- Being erased: its keys have stopped, it never comes back, and its rows go in batches before it does.
ALTER TABLE tenants ADD COLUMN deleted_at timestamptz;
GRANT DELETE ON tenants TO memoryd_operator;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['operator_log', 'operator_idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY operator_only ON %I TO memoryd_operator USING (true) WITH CHECK (true)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT ON operator_log TO memoryd_operator;   -- append-only
GRANT SELECT, INSERT, UPDATE, DELETE ON operator_idempotency_keys TO memoryd_operator;
