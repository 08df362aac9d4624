-- Which jobs bring a document: of several, the one that was ordered last has the last word.
CREATE INDEX job_items_of ON job_items (tenant_id, document_id, job_id);
