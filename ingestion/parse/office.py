"""What the office formats of ECMA-376 share: relations between parts, and the title."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from ingestion.parse.archives import Archive
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.markup import root_of

_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_RELATION = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


@dataclass(frozen=True, slots=True)
class Relation:
    """``kind`` is the last part of the relation's type; ``target`` a part's name, or an address if ``external``."""

    kind: str
    target: str
    external: bool


def relations(archive: Archive, part: str) -> dict[str, Relation]:
    """The part's relations by id; of the package itself with an empty name."""
    folder, name = posixpath.split(part)
    path = posixpath.join(folder, "_rels", f"{name}.rels")
    if path not in archive.names:
        return {}
    found: dict[str, Relation] = {}
    for one in root_of(archive, path).iter(_RELATION):
        external = one.get("TargetMode") == "External"
        target = one.get("Target") or ""
        if not external:
            target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
        found[one.get("Id") or ""] = Relation((one.get("Type") or "").rsplit("/", 1)[-1], target, external)
    return found


def main_part(archive: Archive) -> str:
    """The document's own part."""
    for one in relations(archive, "").values():
        if one.kind == "officeDocument" and one.target in archive.names:
            return one.target
    raise ParseFailed(FailureReason.CORRUPT, "the package names no document")


def part_of(archive: Archive, found: dict[str, Relation], kind: str) -> str | None:
    """The first part related by ``kind`` that is there."""
    return next((one.target for one in found.values() if one.kind == kind and one.target in archive.names), None)


def core_title(archive: Archive) -> str | None:
    """The title in the document's properties."""
    part = part_of(archive, relations(archive, ""), "core-properties")
    return next((found.text for found in root_of(archive, part).iter(_TITLE)), None) if part else None
