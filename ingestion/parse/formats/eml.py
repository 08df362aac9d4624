"""Mail: subject, who and when, then the body; attachments are named, not read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from io import BytesIO
from itertools import islice

from ingestion.document import BlockKind
from ingestion.parse.encodings import detect, likeliest
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.hypertext import parse_html, pieces_of
from ingestion.parse.pieces import Facts, Piece, heading, one_line, paragraph
from ingestion.parse.source import Source

_SHOWN = ("From", "To", "Cc", "Date")
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_NOT_RICH = ("text/plain", "message/rfc822")
_MAX_PARTS = 1_000
# What pages of no words are made of.
_MARKUP = re.compile(rb"(?:<[^>]*+>?|&nbsp;|\s+)*+", re.IGNORECASE)


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """The parts in their order; of alternatives the plain text, else the HTML."""
    # Each part has an encoding of its own: what was found about the file as a whole is about none.
    facts.warnings.clear()
    # The default policy of the old interface: it takes any header, however broken.
    mail = message_from_bytes(source.whole())
    if mail.get_content_type() in _ENCRYPTED:
        raise ParseFailed(FailureReason.ENCRYPTED, "the mail is encrypted")
    subject = _header(mail, "Subject")
    facts.name(subject)
    if subject:
        yield heading(subject, 1)
    shown = ((name, _header(mail, name)) for name in _SHOWN)
    yield Piece(BlockKind.LIST, "\n".join(f"- {name}: {value}" for name, value in shown if value))
    for number, (part, chosen) in enumerate(_leaves(mail)):
        if number >= _MAX_PARTS:
            raise ParseFailed(FailureReason.TOO_LARGE, f"the mail has more than {_MAX_PARTS} parts")
        if _is_attached(part):
            named = part.get_filename()
            facts.warn(f"attachment not read: {_decoded(named) if named else part.get_content_type()}")
        elif chosen and part.get_content_type() == "text/plain":
            for text in _text(part, source, facts).replace("\r\n", "\n").split("\n\n"):
                yield paragraph(text)
        elif chosen and part.get_content_type() == "text/html":
            root = parse_html(_text(part, source, facts))
            if root is not None:
                yield from pieces_of(root)


def _leaves(mail: Message) -> Iterator[tuple[Message, bool]]:
    """Parts that hold something, and whether they are to be read: not what says again in another way what is read. A mail
    within a mail is an attachment."""
    waiting = [(mail, True)]
    while waiting:
        part, chosen = waiting.pop(0)
        if part.get_content_type() == "message/rfc822" and part is not mail:
            part.add_header("Content-Disposition", "attachment")
            yield part, chosen
        elif part.is_multipart():
            inner = [one for one in part.get_payload() if isinstance(one, Message)]
            read = set(_best(inner) if part.get_content_type() == "multipart/alternative" else inner)
            waiting[:0] = [(one, chosen and one in read) for one in inner]
        else:
            yield part, chosen


def _best(alternatives: list[Message]) -> list[Message]:
    """The plain text, if it has any; else the richest that has words, which comes last; all of them where none has."""
    plain = [one for one in alternatives if one.get_content_type() == "text/plain" and _has_words(one)]
    rich = (one for one in reversed(alternatives) if one.get_content_type() not in _NOT_RICH and _has_words(one))
    return plain or list(islice(rich, 1)) or alternatives


def _has_words(part: Message) -> bool:
    """Whether something in it would be read: an empty text or page, a picture or an attachment is not."""
    texts = (one for one in part.walk() if one.get_content_type() in ("text/plain", "text/html") and not _is_attached(one))
    return any(not _MARKUP.fullmatch(_content(one)) for one in texts)


def _is_attached(part: Message) -> bool:
    return part.get_filename() is not None or part.get_content_disposition() == "attachment"


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text(part: Message, mail: Source, facts: Facts) -> str:
    content = _content(part)
    kind = f"{part.get_content_type()}; charset={part.get_content_charset()}"
    said = replace(mail, stream=BytesIO(content), size=len(content), media_type=kind)
    try:
        encoding = detect(said, facts)
    except ParseFailed:
        facts.warn("a part is in no known encoding")
        encoding = likeliest(said, facts)
    return content.decode(encoding, errors="replace")


def _header(mail: Message, name: str) -> str:
    return _decoded(str(mail.get(name, "")))


def _decoded(value: str) -> str:
    try:
        return one_line(str(make_header(decode_header(value))))
    except (HeaderParseError, LookupError, ValueError):
        return one_line(value)
