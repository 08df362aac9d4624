-- The planner expects of a knowledge base what the average one has, and where most are small it reads all of a large one for every
-- few documents of it. A thousand are expected of each, which is right of those that take time.
ALTER TABLE kb_documents ALTER COLUMN tenant_id SET (n_distinct = -0.001), ALTER COLUMN kb_id SET (n_distinct = -0.001);
ANALYZE kb_documents;
