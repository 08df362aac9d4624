"""Knowledge bases: documents in immutable versions, ingested by jobs, published and rolled back by one pointer."""
