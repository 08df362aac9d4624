"""One module a format: ``read(source, facts)`` yields pieces, and raises :class:`~ingestion.parse.failures.ParseFailed`."""
