"""Exact counts of texts made of blocks, each block counted once however often it comes again.

OpenAI's encodings cut a text into pieces by a pattern before they merge anything. A line feed that a letter follows always ends a
piece: of the pattern's branches only those for punctuation and white space take a line feed, as the last thing they take before a
letter, and none for letters begins with one. So the count of ``a + "\\n" + b`` is that of ``a + "\\n"`` and that of ``b``, where
``b`` begins with a letter. For other tokenizers nothing of the kind is known, and the whole text is counted.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from retrieval.packing.tokens import OpenAICounter
from retrieval.ports import TokenCounter


class Counts:
    """The last ``most`` counts, by tokenizer and digest of the text: about 200 bytes each. For any thread."""

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._known: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, counter: TokenCounter, text: str) -> int:
        """As ``counter`` counts."""
        key = counter.name, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = counter.count(text)
        with self._lock:
            self._known[key] = found
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return found


class LineCounter:
    """Counts blocks and texts of blocks with one tokenizer. Made for one text: it keeps every block that it was asked for."""

    def __init__(self, counter: TokenCounter, counts: Counts) -> None:
        self._counter = counter
        self._counts = counts
        self._adds_up = isinstance(counter, OpenAICounter)
        self._blocks: dict[str, int] = {}

    @property
    def name(self) -> str:
        """The tokenizer's."""
        return self._counter.name

    def count(self, text: str) -> int:
        """Number of tokens of ``text``."""
        return self._counts.count(self._counter, text)

    def block(self, text: str) -> int:
        """What ``text`` costs with a line feed after it."""
        if text not in self._blocks:
            self._blocks[text] = self.count(f"{text}\n")
        return self._blocks[text]

    def joined(self, blocks: Sequence[str]) -> int:
        """Number of tokens of the blocks joined by line feeds, exactly."""
        if not self._adds_up or not all(_begins_with_letter(block) for block in blocks):
            return self._counter.count("\n".join(blocks))
        return sum(map(self.block, blocks[:-1])) + sum(map(self.count, blocks[-1:]))


def _begins_with_letter(text: str) -> bool:
    return text[:1].isascii() and text[:1].isalpha()
