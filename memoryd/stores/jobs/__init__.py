"""The ledger of jobs in PostgreSQL: for callers, and for workers."""
