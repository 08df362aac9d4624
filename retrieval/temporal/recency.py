"""Whether a question asks for the newest there is."""

from __future__ import annotations

import re

from retrieval.temporal.words import fold

_RECENT = re.compile(
    r"(?<!at the )\b(?:latest|newest|recent(?:ly)?|currently|nowadays|lately|(?:these|right)\s{1,3}(?:days|now)|"
    r"as\s{1,3}of\s{1,3}(?:now|today)|at\s{1,3}the\s{1,3}moment|up[\s\-]to[\s\-]date)\b"
)
# Not "now and then", "until now", "now that she knows", "from now on", "Now You See Me".
_NOW = re.compile(
    r"(?<!until )(?<!till )(?<!before )(?<!from )(?<!by )(?<!up to )\bnow\b"
    r"(?!\s{1,3}(?:and|that|on|you)\b|-)"
)


def wants_recent(query: str) -> bool:
    """True for "latest", "most recent", "recently", "currently", "now", "these days", "newest" and their like."""
    folded = fold(query)
    return _RECENT.search(folded) is not None or _NOW.search(folded) is not None
