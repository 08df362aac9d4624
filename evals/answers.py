"""How much of the right answer stands in a text: a measure that neither renditions nor labels can flatter."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.analysis import Analyzer


@dataclass(frozen=True, slots=True)
class AnswerWords:
    """Compares by content words: stems without stop words, case, accents and punctuation; numbers as they are."""

    analyzer: Analyzer

    def share(self, answer: str, text: str) -> float | None:
        """The part of the answer's different words that stand somewhere in ``text``; ``None`` for an answer without any."""
        wanted = set(self.analyzer.tokens(answer))
        if not wanted:
            return None
        return len(wanted & set(self.analyzer.tokens(text))) / len(wanted)
