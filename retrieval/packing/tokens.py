"""Exact token counts: OpenAI's encodings through ``bpe-openai``, any other through its ``tokenizer.json``.

Text that looks like a special token (``<|endoftext|>``) is counted as the ordinary text it is.
"""

from collections.abc import Iterable
from pathlib import Path

from retrieval.errors import UnknownTokenizer
from retrieval.ports import TokenCounter

DEFAULT_TOKENIZER = "o200k_base"

# Longest prefix wins, so that gpt-4o and gpt-4.1 are not taken for gpt-4.
_MODEL_PREFIXES = {
    "chatgpt-4o": "o200k_base",
    "gpt-4o": "o200k_base",
    "gpt-4.1": "o200k_base",
    "gpt-4.5": "o200k_base",
    "gpt-5": "o200k_base",
    "o1": "o200k_base",
    "o3": "o200k_base",
    "o4": "o200k_base",
    "gpt-4": "cl100k_base",
    "gpt-3.5": "cl100k_base",
    "gpt-35": "cl100k_base",
    "text-embedding-3": "cl100k_base",
    "text-embedding-ada-002": "cl100k_base",
}
_ENCODINGS = ("o200k_base", "cl100k_base")

# bpe-openai refuses a million characters at once; longer text is counted piece by piece.
_PIECE_CHARS = 500_000


class OpenAICounter:
    """Counts as ``o200k_base`` or ``cl100k_base`` does."""

    def __init__(self, encoding: str) -> None:
        if encoding not in _ENCODINGS:
            raise UnknownTokenizer(f"no encoding named {encoding!r}; known: {', '.join(_ENCODINGS)}")
        # Imported where it is used: importing it takes seconds, which the command line would pay on every call.
        import bpe_openai

        self._name = encoding
        self._encoding = bpe_openai.get_encoding(encoding)

    @property
    def name(self) -> str:
        return self._name

    def count(self, text: str) -> int:
        """Number of tokens; exact also above the piece length wherever the text has a line feed to cut at."""
        if len(text) <= _PIECE_CHARS:
            return len(self._encoding.encode_ordinary(text))
        cut = text.rfind("\n", 1, _PIECE_CHARS) + 1 or _PIECE_CHARS
        return len(self._encoding.encode_ordinary(text[:cut])) + self.count(text[cut:])


class HuggingFaceCounter:
    """Counts as the tokenizer in a ``tokenizer.json`` does, without special tokens, truncation or padding."""

    def __init__(self, name: str, path: Path) -> None:
        if not path.is_file():
            raise UnknownTokenizer(f"no tokenizer file for {name!r} at {path.name}")
        # Imported where it is used, as it loads numpy, for which who only names a tokenizer need not wait.
        from tokenizers import Tokenizer

        self._name = name
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def name(self) -> str:
        return self._name

    def count(self, text: str) -> int:
        # Lone surrogates cannot reach a model; the tokenizer would refuse them.
        sound = text.encode("utf-8", "replace").decode("utf-8")
        return len(self._tokenizer.encode(sound, add_special_tokens=False).ids)


def encoding_of(name: str) -> str | None:
    """The encoding an OpenAI model or encoding name stands for, or ``None``."""
    if name in _ENCODINGS:
        return name
    bare = name.lower().removeprefix("openai/")
    prefixes = [p for p in _MODEL_PREFIXES if bare == p or bare.startswith((f"{p}-", f"{p}."))]
    prefixes += [p for p in ("gpt-5", "gpt-4o") if bare.startswith(p)]
    return _MODEL_PREFIXES[max(prefixes, key=len)] if prefixes else None


def counter(name: str) -> TokenCounter:
    """A new counter for an OpenAI encoding or model name. Raises :class:`retrieval.errors.UnknownTokenizer`."""
    encoding = encoding_of(name)
    if encoding is None:
        raise UnknownTokenizer(f"no tokenizer named {name!r}; known: {', '.join(_ENCODINGS)} and OpenAI model names")
    return OpenAICounter(encoding)


class TokenizerRegistry:
    """The tokenizers of one installation: the OpenAI encodings, built when first asked for, and ``extra`` ones.

    Build one in the composition root and pass it on.
    """

    def __init__(self, extra: Iterable[TokenCounter] = ()) -> None:
        self._counters: dict[str, TokenCounter] = {each.name: each for each in extra}

    def names(self) -> tuple[str, ...]:
        """The names that :meth:`counter` knows, OpenAI model names aside."""
        return tuple(dict.fromkeys((*_ENCODINGS, *self._counters)))

    def warm(self) -> None:
        """Builds the OpenAI encodings now. Blocks for seconds."""
        for encoding in _ENCODINGS:
            self.counter(encoding)

    def counter(self, name: str = DEFAULT_TOKENIZER) -> TokenCounter:
        """The counter of that name. Raises :class:`retrieval.errors.UnknownTokenizer`."""
        if name in self._counters:
            return self._counters[name]
        encoding = encoding_of(name)
        if encoding is None:
            known = ", ".join(self.names())
            raise UnknownTokenizer(f"no tokenizer named {name!r}; known: {known} and OpenAI model names")
        if encoding not in self._counters:
            self._counters[encoding] = OpenAICounter(encoding)
        return self._counters[encoding]
