"""Memory of the service's processes and bytes of its data, on Linux."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")


def memory_mib(pids: Mapping[str, int]) -> dict[str, float]:
    """Proportional set size of each process with its descendants, in MiB; empty where the kernel does not tell."""
    if not (_PROC / "self/smaps_rollup").exists():
        return {}
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    return {name: sum(_pss_kib(pid) for pid in _family(pid, children)) / 1024 for name, pid in pids.items()}


def disk_mib(folder: Path) -> float:
    """Size of all files below ``folder`` in MiB. Files that vanish meanwhile are left out."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(root) / name).st_size
            except OSError:
                continue
    return total / 2**20


def _family(pid: int, children: Mapping[int, list[int]]) -> list[int]:
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return family


def _parent(entry: Path) -> int | None:
    try:
        # The name in parentheses may hold anything; the parent is the second field after it.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _pss_kib(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
