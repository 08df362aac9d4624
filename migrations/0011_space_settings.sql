-- Whether recalls of a space are reranked, where a request leaves it to the service: "off", "on", or an object with depth
-- and budget_ms. NULL: as the installation has it.
ALTER TABLE spaces ADD COLUMN rerank jsonb CHECK (jsonb_typeof(rerank) IN ('string', 'object'));
