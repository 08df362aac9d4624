"""Files to blocks: what a file is, and what it says, without trusting either.

Begin at :class:`ingestion.parse.parser.DocumentParser`. The package itself imports nothing: the parsing process starts here too.
"""

PARSER_VERSION = "5"
"""Goes up when the same file gives other blocks: documents are then parsed again when they are ingested again."""
