"""A page's text: the bytes as what they are, or as what the page declares."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress

from ingestion.parse.labels import NO_TABLES, superset
from ingestion.parse.pieces import Facts

_DECLARED = re.compile(rb"<(?:\?xml|meta)\b[^>]{0,300}?(?:encoding|charset)\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_HEAD = 4_096
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WIDE = ("utf-16", "utf-32")
# Valid characters of UTF-8 for each byte that is none: by chance, other encodings have fewer.
_OUTNUMBERED = 3


def decoded(content: bytes, facts: Facts, guess: str | None = None) -> str:
    """UTF-8 or UTF-16 if it is that, UTF-8 also but for a few bytes; else as the page declares, else by the guess.

    ``guess`` is what the bytes look like, and is all that was warned of: where it is not needed, nor is that.
    """
    wide = guess if guess is not None and guess.startswith(_WIDE) else "utf-16" if content.startswith(_UTF16) else None
    if wide is not None:
        return content.decode(wide, errors="replace")
    named = declared(content)
    known = named if named != "utf-8" else None
    if guess is None or guess.startswith("utf"):
        with suppress(UnicodeDecodeError):
            return content.decode("utf-8")
        if _is_mostly_right(content.decode("utf-8", errors="replace")):
            known = "utf-8"
    if known is not None and guess is not None:
        facts.warnings.clear()
    encoding = known or guess or "cp1252"
    text = content.decode(encoding, errors="replace")
    if "\ufffd" in text:
        facts.warn(f"a few bytes are not {encoding.upper()} and are shown as U+FFFD")
    return text


def declared(content: bytes) -> str | None:
    """The codec for what a page names, or ``None``. UTF-16 stands for UTF-8: a name in UTF-16 could not be read here."""
    found = _DECLARED.search(content, 0, _HEAD)
    codec = superset(found[1].decode("ascii", errors="replace")) if found else ""
    if codec in NO_TABLES:
        return None
    # Some of Python's codecs do not decode bytes to text, or nothing at all.
    with suppress(LookupError, ValueError):
        b" ".decode(codec, errors="replace")
        return "utf-8" if codec.startswith("utf") else codec
    return None


def _is_mostly_right(text: str) -> bool:
    wrong = text.count("\ufffd")
    return len(text) - len(text.encode("ascii", errors="ignore")) - wrong >= _OUTNUMBERED * wrong
