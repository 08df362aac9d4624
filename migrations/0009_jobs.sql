-- Jobs: the ledger. What is queued in Redis is a reminder only; everything that a job was, is and has yet to do is here.
CREATE TABLE jobs (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    job_id       uuid NOT NULL,
    revision     bigint NOT NULL DEFAULT 1,   -- counts the changes that can be seen; streams resume by it
    kind         text NOT NULL CHECK (length(kind) BETWEEN 1 AND 100),
    kb_id        uuid,
    space        text,                        -- a key that is confined to spaces sees the jobs of these
    state        text NOT NULL CHECK (state IN ('queued', 'running', 'paused', 'succeeded', 'partial', 'failed', 'cancelled')),
    wish         text CHECK (wish IN ('pause', 'cancel')),   -- what a worker that holds the job is to do next
    payload      jsonb NOT NULL,
    items        integer NOT NULL,
    succeeded    integer NOT NULL DEFAULT 0,
    unchanged    integer NOT NULL DEFAULT 0,
    failed       integer NOT NULL DEFAULT 0,
    cancelled    integer NOT NULL DEFAULT 0,
    chunks       bigint NOT NULL DEFAULT 0,
    tokens       bigint NOT NULL DEFAULT 0,
    bytes        bigint NOT NULL DEFAULT 0,
    error_code   text,
    error_detail text,
    created_by   text NOT NULL,               -- whom a worker acts for, and what it may do for them
    actions      text[] NOT NULL,
    created_at   timestamptz NOT NULL,
    started_at   timestamptz,
    finished_at  timestamptz,
    updated_at   timestamptz NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,  -- at finishing, when all items are through
    not_before   timestamptz NOT NULL,
    turn_at      timestamptz NOT NULL,        -- when it last had its turn; at first, when it came
    lease_owner  uuid,                        -- a new one for every turn: nobody else may write outcomes
    lease_until  timestamptz,
    beat_at      timestamptz,                 -- up to when worked_s has been counted
    worked_s     float8 NOT NULL DEFAULT 0,   -- how long workers have held it
    PRIMARY KEY (tenant_id, job_id)
);
CREATE INDEX jobs_of_kb ON jobs (tenant_id, kb_id, job_id);
CREATE INDEX jobs_in_state ON jobs (tenant_id, state, job_id);
CREATE INDEX jobs_next ON jobs (tenant_id, turn_at) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_finished ON jobs (tenant_id, finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE job_items (
    tenant_id   uuid NOT NULL,
    job_id      uuid NOT NULL,
    item        integer NOT NULL,
    document_id text NOT NULL,
    source      jsonb NOT NULL,
    state       text NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'running', 'succeeded', 'unchanged', 'failed', 'cancelled')),
    attempts    integer NOT NULL DEFAULT 0,
    not_before  timestamptz NOT NULL,
    reason      text,
    detail      text,
    chunks      bigint NOT NULL DEFAULT 0,
    tokens      bigint NOT NULL DEFAULT 0,
    bytes       bigint NOT NULL DEFAULT 0,
    pages       integer,
    started_at  timestamptz,
    finished_at timestamptz,
    dead        boolean NOT NULL DEFAULT false,   -- failed for having been tried as often as may be
    PRIMARY KEY (tenant_id, job_id, item),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs ON DELETE CASCADE
);
CREATE INDEX job_items_next ON job_items (tenant_id, job_id, not_before, item) WHERE state = 'queued';
CREATE INDEX job_items_running ON job_items (tenant_id, job_id) WHERE state = 'running';
CREATE INDEX job_items_dead ON job_items (tenant_id, job_id, item) WHERE dead;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['jobs', 'job_items'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_isolation ON %I TO memoryd_service
                        USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO memoryd_service', t);
    END LOOP;
END $$;
