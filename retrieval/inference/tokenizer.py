"""A model's own tokenizer: encodings for the model, offsets for the splitter, estimates for the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding as HuggingFaceEncoding
from tokenizers import Tokenizer

from retrieval.errors import ModelNotFound
from retrieval.tokens import Tokenized, Tokens

Row = NDArray[np.int64]

_CHARS_PER_TOKEN = 4
_SPECIAL_TOKENS = 3
# What is far beyond the window is not even looked at: tokenising takes a second a megabyte, and the others wait meanwhile.
# Ordinary text has two to six characters a token; what has more is mostly white space.
MOST_CHARS_PER_TOKEN = 64
# Pre-tokenizers that end a word at white space and keep none of it in a token.
_WORD_SPLITTERS = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})
# Normalizers that change characters where they stand.
_WORD_NORMALIZERS = frozenset({"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"})


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text or pair, special tokens included: token ids and segment ids, each of shape ``(length,)``."""

    ids: Row
    segments: Row

    def __len__(self) -> int:
        return len(self.ids)


class ModelTokenizer:
    """``tokenizer.json``, never padding, and cutting only where told. Safe to use from several threads.

    Where a token stands is looked for only by :meth:`offsets` and :meth:`tokens`: a sixth of the time.
    """

    def __init__(self, path: Path, *, max_tokens: int | None = None, special: bool = True) -> None:
        """``max_tokens`` cuts :meth:`encode` and :meth:`encode_pairs`, special tokens included; ``None`` never cuts. Where they
        cut, at most 64 characters for each token of the window are looked at.

        ``special`` false: :meth:`encode` adds no special tokens.
        """
        try:
            said = path.read_bytes()
            self._tokenizer = Tokenizer.from_buffer(said)
        except Exception as error:  # the library raises bare Exception
            raise ModelNotFound(f"{path} cannot be read as a tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if max_tokens is not None:
            self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self._special = special
        self._most_chars = None if max_tokens is None else MOST_CHARS_PER_TOKEN * max_tokens
        self._parts_at_space = _parts_at_space(self._tokenizer)
        self._vocabulary = hashlib.sha256(said).hexdigest()
        self._max_tokens = max_tokens
        self._around = _around(self._tokenizer, special=special)

    @property
    def parts_at_space(self) -> bool:
        """True when words are tokenised one by one: the counts of parts that are cut at white space add up exactly."""
        return self._parts_at_space

    @property
    def vocabulary(self) -> str:
        """Whose ids its tokens have: two tokenizers with one of these give a text the same, special tokens apart."""
        return self._vocabulary

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Encodings of texts, as the model reads them."""
        found = [self._carried(text) for text in texts]
        missing = self._encoded([text for text, one in zip(texts, found, strict=True) if one is None])
        new = (_encoding(one.ids, one.type_ids) for one in missing)
        return [next(new) if one is None else one for one in found]

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
        """Encodings of pairs, as a cross-encoder reads them; the longer side of a pair is cut first."""
        found = self._tokenizer.encode_batch_fast([(self._seen(one), self._seen(other)) for one, other in pairs])
        return [_encoding(pair.ids, pair.type_ids) for pair in found]

    def _carried(self, text: str) -> Encoding | None:
        """The encoding of a text that carries its tokens, where all of them are read."""
        if not isinstance(text, Tokenized) or self._around is None or text.by != self._vocabulary:
            return None
        before, after = self._around
        ids = np.array([*before, *text.ids, *after], dtype=np.int64)
        read = self._max_tokens is None or len(ids) <= self._max_tokens
        return Encoding(ids, np.zeros_like(ids)) if read and len(text) <= (self._most_chars or len(text)) else None

    def _encoded(self, texts: Sequence[str]) -> list[HuggingFaceEncoding]:
        seen = [self._seen(text) for text in texts]
        found: list[HuggingFaceEncoding] = self._tokenizer.encode_batch_fast(seen, add_special_tokens=self._special)
        return found

    def _seen(self, text: str) -> str:
        return text[: self._most_chars]

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Where each token of ``text`` begins and ends, in characters, without special tokens."""
        found: Sequence[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return found

    def tokens(self, text: str) -> Tokens:
        """Where the tokens of ``text`` begin and their ids, without special tokens."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return Tokens([begin for begin, _ in found.offsets], found.ids)

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, without special tokens."""
        return [len(found) for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def estimated_tokens(text: str, most: int) -> int:
    """A cheap guess at a text's tokens, at most ``most``: four characters each in ASCII, one each elsewhere.

    It only has to be proportional to work: it sizes batches and queues, and throughput is measured in it too.
    """
    guess = len(text) // _CHARS_PER_TOKEN if text.isascii() else len(text)
    return min(guess + _SPECIAL_TOKENS, most)


def _parts_at_space(tokenizer: Tokenizer) -> bool:
    """Whether white space parts a text so that nothing on one side of it depends on what is on the other."""
    if type(tokenizer.pre_tokenizer).__name__ not in _WORD_SPLITTERS:
        return False
    if tokenizer.normalizer is not None and type(tokenizer.normalizer).__name__ not in _WORD_NORMALIZERS:
        return False
    added = tokenizer.get_added_tokens_decoder().values()
    return not any(one.lstrip or one.rstrip or any(char.isspace() for char in one.content) for one in added)


def _around(tokenizer: Tokenizer, *, special: bool) -> tuple[list[int], list[int]] | None:
    """The special tokens before and behind a text; ``None`` where a text is not what stands between some of one segment."""
    if not special:
        return [], []
    found, word = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False).ids
    at = found.special_tokens_mask.index(0) if 0 in found.special_tokens_mask else 0
    before, after = found.ids[:at], found.ids[at + len(word) :]
    return (before, after) if found.ids == before + word + after and not any(found.type_ids) else None


def _encoding(ids: Sequence[int], segments: Sequence[int]) -> Encoding:
    return Encoding(np.asarray(ids, dtype=np.int64), np.asarray(segments, dtype=np.int64))
