"""Names that the embedded stack shares with ``migrations/``; importing them loads no driver."""

DATABASE = "memoryd"
