"""Globs over the relative POSIX paths of documents."""

import re
from collections.abc import Iterable
from typing import Final

_TOKENS: Final = re.compile(r"(\*\*/|\*\*|\*|\?|\[[!^]?+[^/][^\]/]*\])")
_WILD: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
# What other globs take for something else than itself. In brackets each of them is itself.
_UNKNOWN: Final = re.compile(r"[\[{\\]")
_MEMBERS: Final = re.compile(r"(.)-(.)|(.)", re.DOTALL)
# As in [[:digit:]].
_CLASS: Final = re.compile(r"\[[:.=]")


def check(glob: str) -> None:
    """Raises ``ValueError`` for what is no glob, or is one of a kind that is not known here: it would be taken literally."""
    _pattern(glob)


class Globs:
    """Which paths are wanted, and which globs have matched none of the paths that were asked about.

    A glob without a slash matches a name at any depth, one with a slash the whole path; ``*`` and ``?`` stand for characters
    other than a slash, ``[a-z]`` and ``[!a-z]`` for one, ``**`` for any folders. Raises ``ValueError`` as :func:`check` does.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._include = {glob: _pattern(glob) for glob in include}
        self._exclude = {glob: _pattern(glob) for glob in exclude}
        self._matched: set[str] = set()

    def wanted(self, name: str) -> bool:
        """Whether it is among what is included (without globs: everything) and neither it nor a folder above it is excluded."""
        return not any(self.excludes(path) for path in _upwards(name)) and self.includes(name)

    def includes(self, name: str) -> bool:
        """Whether a glob to include is one of this very path; true where there is none."""
        return not self._include or self._any(self._include, name)

    def excludes(self, name: str) -> bool:
        """Whether a glob to exclude is one of this very path."""
        return self._any(self._exclude, name)

    @property
    def idle(self) -> list[tuple[str, str]]:
        """``include`` or ``exclude``, and the glob, of each that matched nothing."""
        every = [("include", glob) for glob in self._include] + [("exclude", glob) for glob in self._exclude]
        return [(which, glob) for which, glob in every if glob not in self._matched]

    def _any(self, globs: dict[str, re.Pattern[str]], name: str) -> bool:
        found = [glob for glob, pattern in globs.items() if pattern.fullmatch(name)]
        self._matched.update(found)
        return bool(found)


def _upwards(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _pattern(glob: str) -> re.Pattern[str]:
    anywhere = "" if "/" in glob.rstrip("/") else "(?:.*/)?"
    parts = _TOKENS.split(glob.rstrip("/").removeprefix("/"))
    return re.compile(anywhere + "".join(_part(glob, part) for part in parts), re.DOTALL)


def _part(glob: str, part: str) -> str:
    if part in _WILD:
        return _WILD[part]
    if _TOKENS.fullmatch(part):
        return _one_of(glob, part[1:-1])
    if unknown := _UNKNOWN.search(part):
        sign = unknown.group()
        hint = "it is not closed" if sign == "[" else f"say [{sign}] for the character"
        hint += "; give the option once for each alternative" if sign == "{" else ""
        raise ValueError(f"{glob}: {sign} is not understood in a glob ({hint})")
    return re.escape(part)


def _one_of(glob: str, members: str) -> str:
    """The pattern of a set: its members, and ranges of them; a slash is in none."""
    negated, members = ("^", members[1:]) if members[0] in "!^" else ("", members)
    found = _MEMBERS.findall(members)
    if _CLASS.search(members) or any(first > last for first, last, _ in found):
        raise ValueError(f"{glob}: [{members}] is not understood in a glob (characters, and ranges such as a-z)")
    ranges = [re.escape(single) if single else f"{re.escape(first)}-{re.escape(last)}" for first, last, single in found]
    return f"(?!/)[{negated}{''.join(ranges)}]"
