-- Several HNSW graphs instead of one for all tenants: among many vectors of others, a graph search misses a tenant's own.
-- A large tenant is dealt the graph with the fewest vectors, so it is alone while there are graphs enough. The rows that
-- were in the one graph are outside again, where searches scan them exactly until the worker has moved them: no row is
-- rewritten here.
ALTER TABLE embeddings ADD COLUMN graph smallint;   -- NULL: in no graph
DROP INDEX embeddings_tail;
ALTER TABLE embeddings DROP COLUMN ann;             -- takes the indexes that were partial on it along
CREATE INDEX embeddings_tail ON embeddings (tenant_id, generation, space_id) WHERE live AND graph IS NULL;

-- What each graph holds, over all tenants; names none of them.
CREATE TABLE graphs (
    graph   smallint PRIMARY KEY CHECK (graph >= 0),
    vectors bigint NOT NULL DEFAULT 0
);
-- As many as there are indexes for: see memoryd/stores/migrate.py.
INSERT INTO graphs (graph) SELECT generate_series(0, 15);
GRANT SELECT, UPDATE ON graphs TO memoryd_service;

CREATE TABLE tenant_graphs (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    graph     smallint NOT NULL REFERENCES graphs,
    vectors   bigint NOT NULL DEFAULT 0   -- of this tenant, when the worker last counted
);
ALTER TABLE tenant_graphs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_graphs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenant_graphs TO memoryd_service
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON tenant_graphs TO memoryd_service;
