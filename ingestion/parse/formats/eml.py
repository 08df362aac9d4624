"""Mail: subject, who and when, then the body; attachments are named, not read."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message

from ingestion.document import BlockKind
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.hypertext import parse_html, pieces_of
from ingestion.parse.pieces import Facts, Piece, heading, one_line, paragraph
from ingestion.parse.source import Source

_SHOWN = ("From", "To", "Cc", "Date")
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_MAX_PARTS = 1_000


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """The plain text where there is one, else the HTML."""
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
    yield from _body(mail, facts)


def _body(mail: Message, facts: Facts) -> Iterator[Piece]:
    plain: list[Message] = []
    rich: list[Message] = []
    for number, part in enumerate(_leaves(mail)):
        if number >= _MAX_PARTS:
            raise ParseFailed(FailureReason.TOO_LARGE, f"the mail has more than {_MAX_PARTS} parts")
        named = part.get_filename()
        if named is not None or part.get_content_disposition() == "attachment":
            facts.warn(f"attachment not read: {_decoded(named) if named else part.get_content_type()}")
        elif part.get_content_type() == "text/plain":
            plain.append(part)
        elif part.get_content_type() == "text/html":
            rich.append(part)
    if any(_content(part).strip() for part in plain):
        for part in plain:
            for text in _text(part).replace("\r\n", "\n").split("\n\n"):
                yield paragraph(text)
        return
    for part in rich:
        root = parse_html(_text(part))
        if root is not None:
            yield from pieces_of(root)


def _leaves(mail: Message) -> Iterator[Message]:
    """Parts that hold something. A mail within a mail is an attachment."""
    waiting = [mail]
    while waiting:
        part = waiting.pop(0)
        if part.get_content_type() == "message/rfc822" and part is not mail:
            part.add_header("Content-Disposition", "attachment")
            yield part
        elif part.is_multipart():
            waiting[:0] = [one for one in part.get_payload() if isinstance(one, Message)]
        else:
            yield part


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    content = _content(part)
    for encoding in (part.get_content_charset(), "utf-8"):
        try:
            return content.decode(encoding or "utf-8")
        except (LookupError, UnicodeDecodeError):
            continue
    return content.decode("cp1252", errors="replace")


def _header(mail: Message, name: str) -> str:
    return _decoded(str(mail.get(name, "")))


def _decoded(value: str) -> str:
    try:
        return one_line(str(make_header(decode_header(value))))
    except (HeaderParseError, LookupError, ValueError):
        return one_line(value)
