-- Working memory lives in Redis; this is what must be found again when Redis has lost it: where the snapshots are.
CREATE TABLE session_snapshots (
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    snapshot_id uuid NOT NULL,
    session_id  text NOT NULL CHECK (length(session_id) BETWEEN 1 AND 200),
    space       text NOT NULL,
    object_key  text NOT NULL,
    revision    bigint NOT NULL,      -- of the session, when it was read
    head        bigint NOT NULL,
    size        bigint NOT NULL,      -- bytes of the object
    taken_at    timestamptz NOT NULL,
    reason      text NOT NULL CHECK (reason IN ('periodic', 'request', 'expiry')),
    final       boolean NOT NULL DEFAULT false,   -- the session left Redis with nothing newer
    leaps       integer NOT NULL DEFAULT 0,       -- how far positions have skipped ahead since it was read back
    PRIMARY KEY (tenant_id, snapshot_id)
);
CREATE INDEX session_snapshots_of ON session_snapshots (tenant_id, session_id, taken_at, snapshot_id);
CREATE INDEX session_snapshots_age ON session_snapshots (tenant_id, taken_at);

CREATE TABLE session_settings (
    tenant_id   uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    auto_commit text NOT NULL CHECK (auto_commit IN ('off', 'expiry', 'idle')),
    idle_s      integer NOT NULL CHECK (idle_s > 0)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['session_snapshots', 'session_settings'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_isolation ON %I TO memoryd_service
                        USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON session_snapshots, session_settings TO memoryd_service;
