"""One analyser for writing and reading: text to index terms, and terms to the integers an index stores.

The name of the analyser is stored beside what it wrote: two names mean two incompatible sets of terms.
"""

import hashlib
import re
import sys
import threading
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import numpy as np
import Stemmer
from numpy.typing import NDArray

MAX_TOKEN_CHARS = 64
"""Longer runs (base64, hashes, keys) are cut here, alike when writing and reading."""

# Snowball's English stop list, question words included: in questions they carry no evidence (LoCoMo-dev
# nDCG@10 .457 without a list, .460 with Lucene's 33 words, .507 with this one; SciFact within .002). Then the
# pieces that contractions leave ("we've" is "we" and "ve").
_STOP_WORDS = """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her
    hers herself it its itself they them their theirs themselves what which who whom this that these
    those am is are was were be been being have has had having do does did doing a an the and but if or
    because as until while of at by for with about against between into through during before after
    above below to from up down in out on off over under again further then once here there when where
    why how all any both each few more most other some such no nor not only own same so than too very
    can will just should now s t d m ll re ve ain aren couldn didn doesn don hadn hasn haven isn mustn
    needn shouldn wasn weren won wouldn
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

# Of words whose ids a thread remembers, before it begins anew.
_MOST_KNOWN = 32_768
_MAX_TF = 32767  # smallint; a term said more often has reached BM25's saturation long before
# Of those, most texts have no others: a quarter of the time.
_ASCII_WORDS = re.compile("[a-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f]")
# Scripts written without spaces (kana and Han): runs become overlapping pairs, as Lucene's CJKAnalyzer does.
_UNSPACED = re.compile("([\u3041-\u3096\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+)")
_BEYOND = re.compile("[\U00010000-\U0010ffff]")


@lru_cache(maxsize=2)
def _words(last: int) -> re.Pattern[str]:
    """Letters and digits with the combining marks up to ``last`` between them; without the marks, Hindi would fall apart."""
    below = map(chr, range(0x300, min(sys.maxunicode, last) + 1))
    marks = "".join(character for character in below if unicodedata.category(character)[0] == "M")
    return re.compile(f"[^\\W_]+(?:[{marks}]+[^\\W_]*)*")


def _fold(text: str) -> str:
    """Case and compatibility folded, accents off: "CAFÉ" and "café" are both "cafe"."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", _ACCENTS.sub("", folded))


@dataclass(frozen=True, slots=True)
class Indexed:
    """A text's length in terms, its distinct terms in ascending order (int64), and how often each is there (int16)."""

    length: int
    terms: NDArray[np.int64]
    tfs: NDArray[np.int16]


class Analyzer:
    """Unicode words, case and accents folded, English stop words out, Snowball English stems.

    Hyphens, apostrophes and points split ("read-only" is two words): keeping hyphens cost .028 nDCG@10 on
    SciFact. Texts in other languages keep their words; only the stemming is English.
    Safe to share between threads: a PyStemmer object is not, so each thread has its own. So is what a thread remembers: the
    ids of the words that it last indexed, of one namespace, some megabytes.
    """

    name = "english-snowball-1"

    def __init__(self, stop_words: frozenset[str] = STOP_WORDS) -> None:
        self._stop_words = stop_words
        self._words, self._all_words = _words(0xFFFF), _words(0x1E8FF)
        self._local = threading.local()

    def tokens(self, text: str) -> list[str]:
        """The terms of ``text`` in order, repeated ones kept; empty when all are stop words. Never raises."""
        return self._stem(self._said(text))

    def indexed(self, namespace: UUID, text: str) -> Indexed:
        """What an inverted index keeps of ``text``, with its terms as ids in ``namespace``."""
        words = self._said(text)
        known = self._known(namespace)
        new = list({word for word in words if word not in known})
        key = namespace.bytes
        for word, stem in zip(new, self._stem(new), strict=True):
            known[word] = int.from_bytes(_digest(key, stem), "big", signed=True)
        ids = np.array([known[word] for word in words], dtype=np.int64)
        if len(known) > _MOST_KNOWN:
            del self._local.known
        terms, tfs = np.unique(ids, return_counts=True)
        return Indexed(len(words), terms, np.minimum(tfs, _MAX_TF).astype(np.int16))

    def _said(self, text: str) -> list[str]:
        """The words of ``text`` but for stop words, folded and cut, not stemmed."""
        folded = _fold(text)
        if folded.isascii():
            found = _ASCII_WORDS.findall(folded)
            return [word[:MAX_TOKEN_CHARS] for word in found if word not in self._stop_words]
        # A set of characters below 0x10000 is a table; one with others is gone through range by range, behind every word.
        found = (self._all_words if _BEYOND.search(folded) else self._words).findall(folded)
        words: list[str] = []
        for word in found:
            for part in (word,) if word.isascii() else _UNSPACED.split(word):
                if _UNSPACED.match(part):
                    words.extend(_pairs(part))
                elif part and part not in self._stop_words:
                    words.append(part[:MAX_TOKEN_CHARS])
        return words

    def _known(self, namespace: UUID) -> dict[str, int]:
        """The ids of words that this thread has met in ``namespace``: nine words of ten in a text."""
        before, known = getattr(self._local, "known", (None, {}))
        if before != namespace:
            known = {}
            self._local.known = namespace, known
        return known

    def _stem(self, words: list[str]) -> list[str]:
        stemmer: Stemmer.Stemmer | None = getattr(self._local, "stemmer", None)
        if stemmer is None:
            stemmer = self._local.stemmer = Stemmer.Stemmer("english")
        stems: list[str] = stemmer.stemWords(words)
        return stems

    @staticmethod
    def term_id(namespace: UUID | bytes, token: str) -> int:
        """A signed 64-bit id of ``token``, different in every namespace (at most 64 bytes).

        blake2b keyed with the namespace: the ids of one tenant or space say nothing about another's words.
        Two of a million terms collide with a probability of 3e-8, and then share their statistics: harmless.
        """
        key = namespace.bytes if isinstance(namespace, UUID) else namespace
        return int.from_bytes(_digest(key, token), "big", signed=True)


def _digest(key: bytes, token: str) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()


def _pairs(run: str) -> list[str]:
    """Overlapping pairs of characters; a lone character is itself."""
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]
