-- Since when somebody is deleting a knowledge base: it is there for nobody any more, takes nothing, and keeps its name until the
-- last of its rows is gone. NULL: it is not being deleted.
ALTER TABLE knowledge_bases ADD COLUMN deleting_at timestamptz;
