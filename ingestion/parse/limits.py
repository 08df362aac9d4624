"""How much one document may cost."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024

SMALL_BYTES = 64 * 1024
"""Files up to this come by the dozen. Of one above it, a parser and several batches of chunks are in memory."""


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Bounds on the process that parses one document, or a few short ones together; beyond any of them the document fails.

    ``memory_bytes`` is address space, of which a parser takes about 200 MiB before it has read anything. ``wait_s`` counts only
    while somebody waits for the next block, so a slow reader does not use it up.
    """

    memory_bytes: int = 1024 * _MIB
    # Both grow by a second for each MiB of the file; reading text takes about a third of that.
    cpu_s: int = 120
    wait_s: float = 120.0
    file_bytes: int = 1024 * _MIB
    # Of a file that must be read whole to be understood: HTML, mail, JSON, spreadsheets.
    whole_bytes: int = 128 * _MIB
    characters: int = 1_200_000_000
    blocks: int = 5_000_000
    # Characters a byte of the file; small files may have `expansion_floor` all the same. OOXML compresses text 10 to 20 times.
    expansion: int = 100
    expansion_floor: int = 8_000_000
    # Of a zip archive, by its directory and again while reading.
    archive_entries: int = 20_000
    archive_bytes: int = 1024 * _MIB
    archive_ratio: int = 200

    def more_s(self, size: int) -> int:
        """Seconds beyond ``cpu_s`` and ``wait_s`` for a file of ``size`` bytes."""
        return size // _MIB

    def output_of(self, size: int) -> int:
        """Characters that a file of ``size`` bytes may become."""
        return min(self.characters, max(self.expansion_floor, self.expansion * size))
