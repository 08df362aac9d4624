"""XML without surprises: no document type, so no entities to expand and nothing to fetch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn
from xml.parsers import expat

from lxml import etree

from ingestion.parse.archives import Archive, Readable
from ingestion.parse.failures import FailureReason, ParseFailed

# lxml has no types of its own.
Element = Any

_CHUNK = 1 << 16


def check_prolog(stream: Readable) -> None:
    """Raises ``unsafe_xml`` for a document type declaration, which only stands before the first element; reads no further.

    The office formats allow none, and every attack by entities (billion laughs, external files) needs one.
    """
    parser = expat.ParserCreate()
    found: list[bool] = []

    def refuse(*_: object) -> NoReturn:
        raise ParseFailed(FailureReason.UNSAFE_XML, "a part declares a document type, which could define entities")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda *_: found.append(True)
    try:
        while not found and (chunk := stream.read(_CHUNK)):
            parser.Parse(chunk)
        if not found:
            # Newer versions of expat put off what may be incomplete, until they are told that it is not.
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        # What follows the first element is the reader's matter.
        if not found:
            raise ParseFailed(FailureReason.CORRUPT, "a part is not well-formed XML") from error


def root_of(archive: Archive, name: str, most: int = 64 * 1024 * 1024) -> Element:
    """The member as a tree."""
    with archive.member(name) as stream:
        check_prolog(stream)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True)
    try:
        return etree.fromstring(archive.read(name, most), parser)
    except etree.XMLSyntaxError as error:
        raise _malformed() from error


def children_of(archive: Archive, name: str, parent: str) -> Iterator[Element]:
    """Each child of the elements ``parent`` of a member, one at a time and freed after use: memory follows the largest child."""
    with archive.member(name) as stream:
        check_prolog(stream)
    with archive.member(name) as stream:
        events = etree.iterparse(
            stream,
            events=("end",),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
        )
        try:
            for _, element in events:
                above = element.getparent()
                if above is None or above.tag != parent:
                    continue
                yield element
                element.clear()
                while element.getprevious() is not None:
                    del above[0]
        except etree.XMLSyntaxError as error:
            raise _malformed() from error


def _malformed() -> ParseFailed:
    return ParseFailed(FailureReason.CORRUPT, "a part is not well-formed XML, or nested too deeply")
