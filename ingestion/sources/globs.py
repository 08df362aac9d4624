"""Globs over the relative POSIX paths of documents."""

import re
from collections.abc import Sequence
from functools import lru_cache


def wanted(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a path is among what is included (without globs: everything) and neither it nor a folder above it is excluded.

    A glob without a slash matches a name at any depth, one with a slash the whole path; ``**`` stands for any folders.
    """
    return (not include or matches(name, include)) and not any(matches(path, exclude) for path in _upwards(name))


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether any of them is a glob of this very path."""
    return any(_pattern(glob).fullmatch(name) for glob in globs)


def _upwards(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


@lru_cache
def _pattern(glob: str) -> re.Pattern[str]:
    anywhere = "" if "/" in glob.rstrip("/") else "(?:.*/)?"
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob.rstrip("/").removeprefix("/"))
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(anywhere + "".join(wild.get(part, re.escape(part)) for part in parts), re.DOTALL)
