-- Long-term memory: an identity row, and one row a revision. A revision is never edited, only retired:
-- recorded_at/retired_at is the time axis of what we knew, valid_from/valid_to that of the world.
CREATE TABLE memories (
    tenant_id     uuid NOT NULL,
    memory_id     uuid NOT NULL,
    space_id      uuid NOT NULL,
    seq           bigint GENERATED ALWAYS AS IDENTITY,   -- arrival order; breaks ties of equal event times
    external_id   text,
    identity      bytea,             -- what makes it the same memory said again; NULL once deleted
    head_revision integer NOT NULL DEFAULT 1,
    deleted_at    timestamptz,       -- the tombstone
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, memory_id),
    UNIQUE (tenant_id, space_id, identity),
    FOREIGN KEY (tenant_id, space_id) REFERENCES spaces ON DELETE CASCADE
);

CREATE TABLE memory_revisions (
    tenant_id     uuid NOT NULL,
    memory_id     uuid NOT NULL,
    revision      integer NOT NULL,
    space_id      uuid NOT NULL,
    seq           bigint NOT NULL,
    action        text NOT NULL CHECK (action IN ('created', 'updated', 'reverted', 'superseded', 'deleted')),
    actor         text NOT NULL,
    reason        text,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    retired_at    timestamptz,
    kind          text NOT NULL CHECK (kind IN ('episodic', 'semantic', 'preference', 'procedural')),
    text          text NOT NULL,
    speaker       text,
    role          text,
    user_id       text,
    agent_id      text,
    session_id    text,
    event_time    timestamptz,
    occurred_at   timestamptz NOT NULL,   -- event_time, or when it was first recorded
    valid_from    timestamptz,
    valid_to      timestamptz,
    source_type   text NOT NULL,
    source_uri    text,
    confidence    double precision NOT NULL,
    topics        text[] NOT NULL DEFAULT '{}',
    metadata      jsonb NOT NULL DEFAULT '{}',
    supersedes    uuid,
    superseded_by uuid,
    -- shown by a recall that names no point in time: neither retired, deleted nor superseded
    live          boolean NOT NULL,
    PRIMARY KEY (tenant_id, memory_id, revision),
    FOREIGN KEY (tenant_id, memory_id) REFERENCES memories ON DELETE CASCADE
);
CREATE INDEX memory_revisions_list ON memory_revisions (tenant_id, space_id, seq) WHERE live;
CREATE INDEX memory_revisions_session ON memory_revisions (tenant_id, space_id, session_id, occurred_at, seq)
    WHERE live AND session_id IS NOT NULL;
CREATE INDEX memory_revisions_user ON memory_revisions (tenant_id, space_id, user_id) WHERE live AND user_id IS NOT NULL;
CREATE INDEX memory_revisions_agent ON memory_revisions (tenant_id, space_id, agent_id) WHERE live AND agent_id IS NOT NULL;
CREATE INDEX memory_revisions_event ON memory_revisions (tenant_id, space_id, event_time) WHERE live AND event_time IS NOT NULL;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['memories', 'memory_revisions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant_isolation ON %I TO memoryd_service
                        USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON memories, memory_revisions TO memoryd_service;
