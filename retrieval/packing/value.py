"""What showing something is worth.

**Weight.** An item weighs ``relevance × content``. Relevance is its score relative to the best one, discounted by rank:
it falls faster with rank than most scores do (RRF's hardly do at all). Content grows with the length of the text up to
``CONTENT_CHARS``: of two texts with the same rank and score the longer says more. On LoCoMo the odds that a turn is
evidence grow with its tokens to the power of 1.05 at equal rank and score; without this, the cheapest turns come first
and the talk ("Thanks, Mel!") drives the evidence out. A power a little below 1 costs nothing there and does not punish
facts for being brief.

**Share.** A gist or an excerpt keeps of that weight the share of the text that it shows, and the share of the query's
terms in the text that it shows.
"""

import math
from collections.abc import Sequence

RANK_DISCOUNT = 0.75
# About 160 tokens. Texts beyond it are first shown in part.
CONTENT_CHARS = 640
CONTENT_POWER = 0.85
# Scores of 0 keep a little weight: an item the caller sent is worth more than unused tokens.
MIN_RELATIVE_SCORE = 0.01
# How much of a share is due to the query's terms; the rest to the text's length.
TERMS = 0.4
# What is left out may matter: the whole is always worth more than any part.
MOST_OF_A_PART = 0.95
# That a ``must_include`` item exists is worth something; any other pointer only uses tokens that are left over.
POINTER_SHARE = 0.02


def weights(scores: Sequence[float], chars: Sequence[int]) -> list[float]:
    """The weights of items, best first, by score and length of text; never 0 for a text that is not empty."""
    top = max(scores, default=0.0)
    return [
        max(MIN_RELATIVE_SCORE, score / top if top > 0 else 1.0)
        * math.pow(min(length, CONTENT_CHARS) / CONTENT_CHARS, CONTENT_POWER)
        / math.pow(rank, RANK_DISCOUNT)
        for rank, (score, length) in enumerate(zip(scores, chars, strict=True), 1)
    ]


def part_share(shown: int, whole: int, terms: float | None) -> float:
    """What showing ``shown`` of ``whole`` characters keeps, with this share of the query's terms (``None``: it has none)."""
    length = min(1.0, shown / min(whole, CONTENT_CHARS))
    return min(MOST_OF_A_PART, length if terms is None else TERMS * terms + (1.0 - TERMS) * length)
