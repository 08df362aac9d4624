"""Sources to items: fetch, sniff, parse, chunk, version, publish. Knowledge bases arrive here in their own change."""
