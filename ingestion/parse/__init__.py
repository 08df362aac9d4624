"""Files to blocks: what a file is, and what it says, without trusting either.

Begin at :class:`ingestion.parse.parser.DocumentParser`. The package itself imports nothing: the parsing process starts here too.
"""
