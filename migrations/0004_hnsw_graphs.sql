-- Several HNSW graphs instead of one for all tenants: among many vectors of others, a graph search misses a tenant's own.
-- A large tenant is dealt the graph with the fewest vectors, so it is alone while there are graphs enough. The rows that
-- were in the one graph are outside again, where searches scan them exactly until the worker has moved them: no row is
-- rewritten here.
ALTER TABLE embeddings ADD COLUMN graph smallint;   -- NULL: in no graph
DROP INDEX embeddings_tail;
ALTER TABLE embeddings DROP COLUMN ann;             -- takes the indexes that were partial on it along
CREATE INDEX embeddings_tail ON embeddings (tenant_id, generation, space_id) WHERE live AND graph IS NULL;

-- For retiring and purging by pid, also by cascade from passages: before PostgreSQL 18 the primary key, with the generation in
-- its middle, is no help, and each of them reads the whole table.
CREATE INDEX embeddings_pid ON embeddings (tenant_id, pid);

-- What each graph holds, over all tenants; names none of them.
CREATE TABLE hnsw_graphs (
    graph   smallint PRIMARY KEY CHECK (graph >= 0),
    vectors bigint NOT NULL DEFAULT 0
);
-- As many as there are indexes for: see memoryd/stores/migrate.py.
INSERT INTO hnsw_graphs (graph) SELECT generate_series(0, 15);
GRANT SELECT, UPDATE ON hnsw_graphs TO memoryd_service;

CREATE TABLE tenant_hnsw_graphs (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    graph     smallint NOT NULL REFERENCES hnsw_graphs,
    vectors   bigint NOT NULL DEFAULT 0   -- of this tenant, when the worker last counted
);
ALTER TABLE tenant_hnsw_graphs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_hnsw_graphs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenant_hnsw_graphs TO memoryd_service
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON tenant_hnsw_graphs TO memoryd_service;

-- Terms that no passage has any more, for the worker to find.
CREATE INDEX term_statistics_empty ON term_statistics (tenant_id) WHERE documents = 0;
