-- A knowledge base is of one tenant. Without knowing it the planner multiplies how rare the two are, expects one document where
-- there are a hundred thousand, and reads them all instead of asking for one by its id.
CREATE STATISTICS kb_documents_of_base (dependencies, ndistinct) ON tenant_id, kb_id FROM kb_documents;
ANALYZE kb_documents;
