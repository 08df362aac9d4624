"""Which bytes are text, and in which encoding."""

from __future__ import annotations

import codecs
import re

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.guesses import guess
from ingestion.parse.labels import NO_TABLES, superset
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
# Bytes that are seldom in a text, and never in most.
CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
# Of a text, this share of a sample may be controls: terminal logs have some, binary data about a tenth.
_FEW = 0.01
# Valid characters of UTF-8 for each byte that is none: in other encodings they come about rarely, and by chance.
_OUTNUMBERED = 3
# The same for what the sender says, which most tables fit by chance.
_RARE = 10
# Of these a text has bytes that no text of UTF-8 has, or is UTF-8 as well and says something else.
_UNLIKE_ASCII = ("iso2022", "utf-16", "utf-32")


def detect(source: Source, facts: Facts) -> str:
    """The encoding of a text. Raises ``not_text`` for anything else.

    A mark at the beginning decides; then UTF-16 without a mark, by where its zeros are or what the sender says; then UTF-8, if
    all of the file is, or all but a few bytes; then what the sender says, by the same measure; then a guess about a sample from
    where it stops being UTF-8.
    """
    sample = source.head(_SAMPLE)
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    declared = _declared(source)
    # Pages of ASCII are called UTF-16 now and then.
    unlike = declared.startswith(_UNLIKE_ASCII) and (b"\x1b" in sample or b"\x00" in sample)
    if unlike and _is_nearly_all(source, declared, facts):
        return declared
    if b"\x00" in sample:
        return _wide(sample)
    if len(CONTROLS.findall(sample)) > _FEW * len(sample):
        raise _not_text("control characters")
    wrong = _first_not_utf8(source)
    return "utf-8" if wrong is None else _not_all_utf8(source, *wrong, declared, facts)


def likeliest(source: Source, facts: Facts) -> str:
    """The encoding of what has to be read although it is hardly a text: UTF-8 or what the sender says, the first that it is
    but for a few bytes, or what the sender says nevertheless."""
    declared = _declared(source)
    nearly = (one for one in ("utf-8", declared) if one and _is_nearly_all(source, one, facts))
    return next(nearly, declared or "cp1252")


def _not_all_utf8(source: Source, position: int, right: int, declared: str, facts: Facts) -> str:
    """The encoding of what is not UTF-8 at ``position``, with ``right`` bytes before it that speak for it."""
    start = max(position - _SAMPLE // 4, 0)
    source.stream.seek(start)
    around = source.stream.read(_SAMPLE)
    after, wrongs = _counted(around[position - start :])
    if right + after >= _OUTNUMBERED * max(wrongs, 1):
        return _mostly("utf-8", facts)
    if declared and not declared.startswith("utf-8") and _is_nearly_all(source, declared, facts):
        return declared
    # As the tables of the guess are written.
    said = declared.replace("-", "_")
    guessed = guess(around, whole=len(around) == source.size, said=said)
    if guessed and guessed == said:
        return _mostly(declared, facts)
    if guessed is not None:
        facts.warn(f"the encoding was guessed: {guessed}")
        return guessed
    if wrongs <= _FEW * len(around):
        return _mostly("utf-8", facts)
    raise _not_text("no known encoding")


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: nearly every character of most texts has one zero byte, always on the same side."""
    half = max(len(sample) // 2, 1)
    even, odd = sample[0::2].count(0) / half, sample[1::2].count(0) / half
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros > 0.4 and others < 0.01:
            return encoding
    raise _not_text("zero bytes")


def _first_not_utf8(source: Source) -> tuple[int, int] | None:
    """Where the first byte is that is no UTF-8, and how many bytes before it go on with a character; or ``None``. Raises when
    zeros come later."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = right = 0
    source.stream.seek(0)
    while chunk := source.stream.read(_CHUNK):
        if b"\x00" in chunk:
            raise _not_text("zero bytes")
        try:
            right += len(chunk) - len(decoder.decode(chunk))
        except UnicodeDecodeError as error:
            # What the decoder held of the piece before may be in front.
            before = error.object[: error.start]
            return position + len(chunk) - len(error.object) + error.start, right + len(before) - len(before.decode())
        position += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        # Cut off within a character: the last one is lost, all others are not.
        return None if position > 4 else (0, 0)
    return None


def _counted(sample: bytes) -> tuple[int, int]:
    """Characters beyond ASCII, and bytes that are none, if it is UTF-8. A character that the sample's end cuts does not count."""
    text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(sample)
    wrong = text.count("\ufffd")
    return sum(not one.isascii() for one in text) - wrong, wrong


def _declared(source: Source) -> str:
    """The codec for what the sender says of the text's encoding; nothing if there is none."""
    codec = superset(source.charset or "")
    try:
        bytes(4).decode(codec)
    except (LookupError, ValueError):
        return ""
    return "" if codec in NO_TABLES else codec


def _is_nearly_all(source: Source, encoding: str, facts: Facts) -> bool:
    """Whether it decodes the file, all of it or all but a few bytes."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    characters = beyond = wrong = 0
    source.stream.seek(0)
    more = True
    try:
        while more:
            chunk = source.stream.read(_CHUNK)
            more = bool(chunk)
            text = decoder.decode(chunk, final=not more)
            characters += len(text)
            beyond += len(text) - len(text.encode("ascii", errors="ignore"))
            wrong += text.count("\ufffd")
    except UnicodeError:
        # UTF-16 that does not say which of the two it is.
        return False
    if not wrong:
        return True
    # Nearly every byte is a character of cp1252, and it is what is said where nobody looked: its letters have to speak for it.
    if encoding == "cp1252" or wrong > max(_FEW * characters, 1) or _RARE * wrong > beyond - wrong:
        return False
    _mostly(encoding, facts)
    return True


def _mostly(encoding: str, facts: Facts) -> str:
    facts.warn(f"a few bytes are not {encoding.upper()} and are shown as U+FFFD")
    return encoding


def _not_text(found: str) -> ParseFailed:
    return ParseFailed(FailureReason.NOT_TEXT, f"neither a known format nor text: {found}")
