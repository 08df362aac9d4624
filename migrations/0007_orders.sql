-- Lists, timelines and the audit log are read in the order of an index, a page at a time, instead of sorted whole for each.
CREATE INDEX memory_revisions_arrival ON memory_revisions (tenant_id, space_id, seq);   -- as_of, known_at: also what is not live
CREATE INDEX memory_revisions_time ON memory_revisions (tenant_id, space_id, occurred_at, seq) WHERE live;
CREATE INDEX audit_log_action ON audit_log (tenant_id, action, audit_id);

-- The log of a tenant that is being deleted goes in batches too. The service still appends and nothing else; the operator
-- sees the numbers of its entries, of no other tenant, and nothing of what they say.
CREATE POLICY operator_erases ON audit_log TO memoryd_operator
    USING (tenant_id IN (SELECT t.tenant_id FROM tenants t WHERE t.deleted_at IS NOT NULL));
GRANT SELECT (tenant_id, audit_id), DELETE ON audit_log TO memoryd_operator;
