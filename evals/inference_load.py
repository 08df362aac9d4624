"""What the inference benchmarks send: texts of known lengths, from real sentences."""

from __future__ import annotations

import random
from collections.abc import Sequence

from retrieval.inference import ModelTokenizer

SHORTEST, LONGEST = 8, 512
_SPECIAL = 2


def mixed_lengths(count: int, *, seed: int, shortest: int = SHORTEST, longest: int = LONGEST) -> list[int]:
    """Lengths in tokens with the special ones, every length as likely as another."""
    rng = random.Random(seed)
    return [rng.randint(shortest, longest) for _ in range(count)]


def texts_of(lengths: Sequence[int], pool: Sequence[str], tokenizer: ModelTokenizer, *, seed: int) -> list[str]:
    """One text a length, of sentences of ``pool``, cut after the last token that it may have."""
    rng = random.Random(seed)
    return [_text(length - _SPECIAL, pool, tokenizer, rng) for length in lengths]


def _text(tokens: int, pool: Sequence[str], tokenizer: ModelTokenizer, rng: random.Random) -> str:
    text = ""
    while len(offsets := tokenizer.offsets(text)) < tokens:
        text += " " + " ".join(rng.choice(pool) for _ in range(1 + tokens // 40))
    return text[: offsets[tokens - 1][1]]
