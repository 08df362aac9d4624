"""Which bytes are text, and in which encoding."""

from __future__ import annotations

import codecs
import re

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.pieces import Facts
from ingestion.parse.source import Source

_CHUNK = 1 << 20
_SAMPLE = 1 << 16
# The longer ones first: UTF-32's mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
# Of a text, this share of a sample may be controls: terminal logs have some, binary data about a tenth.
_FEW = 0.01


def detect(source: Source, facts: Facts) -> str:
    """The encoding of a text. Raises ``not_text`` for anything else.

    A mark at the beginning decides; then UTF-16 without a mark, by where its zeros are; then UTF-8, if all of the file is; then
    the best guess of charset-normalizer about a sample from where it stops being UTF-8.
    """
    sample = source.head(_SAMPLE)
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if b"\x00" in sample:
        return _wide(sample)
    if len(_CONTROLS.findall(sample)) > _FEW * len(sample):
        raise _not_text("control characters")
    wrong = _first_not_utf8(source)
    if wrong is None:
        return "utf-8"
    return _guess(source, wrong, facts)


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: nearly every character of most texts has one zero byte, always on the same side."""
    half = max(len(sample) // 2, 1)
    even, odd = sample[0::2].count(0) / half, sample[1::2].count(0) / half
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros > 0.4 and others < 0.01:
            return encoding
    raise _not_text("zero bytes")


def _first_not_utf8(source: Source) -> int | None:
    """The position of the first byte that is no UTF-8, or ``None``. Raises when zeros come later."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    source.stream.seek(0)
    while chunk := source.stream.read(_CHUNK):
        if b"\x00" in chunk:
            raise _not_text("zero bytes")
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return max(position + error.start, 0)
        position += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        # Cut off within a character: the last one is lost, all others are not.
        return None if position > 4 else 0
    return None


def _guess(source: Source, wrong: int, facts: Facts) -> str:
    import charset_normalizer

    source.stream.seek(max(wrong - _SAMPLE // 4, 0))
    sample = source.stream.read(_SAMPLE)
    if wrong >= _SAMPLE and len(_undecoded(sample)) <= 8:
        facts.warn("a few bytes are not UTF-8 and are shown as U+FFFD")
        return "utf-8"
    best = charset_normalizer.from_bytes(sample).best()
    if best is None:
        raise _not_text("no known encoding")
    # Every byte is a character of Windows' code page, so a guess among its relatives is a matter of taste.
    encoding = "cp1252" if best.encoding in ("latin_1", "iso8859_1", "ascii", "utf_8") else best.encoding
    facts.warn(f"the encoding was guessed: {encoding}")
    return encoding


def _undecoded(sample: bytes) -> str:
    return "".join(character for character in sample.decode("utf-8", errors="replace") if character == "\ufffd")


def _not_text(found: str) -> ParseFailed:
    return ParseFailed(FailureReason.NOT_TEXT, f"neither a known format nor text: {found}")
