"""The outline of source code by its layout, in any language: what stands at the margin, and what encloses a line.

Indentation and the words of definitions are read, no grammar: code that is laid out as its language's formatter does is
cut between definitions; other code between lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|sealed|virtual|override|async|unsafe|"
    r"const|inline|extern|partial|data|open|pub(?:\([\w:]+\))?)\s+)*"
)
_NAMED = re.compile(
    _MODIFIERS + r"(?P<what>class|def|function\*?|fn|fun|func|interface|struct|enum|impl|trait|module|namespace|object|record)\s+"
    r"(?:\([^)]*\)\s*)?(?P<name>[\w$.:<>~, ]*[\w$>])"
)
# A function without a word for it, as in C, Java and methods of JavaScript: a name, parentheses, and an opened brace.
_BRACED = re.compile(r"(?:[\w<>\[\],*&:$~]+\s+)*[*&]*(?P<name>[\w$:~]+)\s*\([^;]*\{\s*$")
_CONTROL = re.compile(r"(?:if|else|for|foreach|while|switch|catch|do|try|return|with|using|lock|match|case|when)\b")
# What belongs to the lines before it, although it stands as far left.
_CLOSER = re.compile(r"[)\]}]|(?:end|else|elif|except|finally|catch|fi|done|esac)\b")
_NAME_CHARS = 60


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition that is open: what it is called, and how far it is indented."""

    indent: int
    name: str


def units(text: str, start: int, end: int) -> list[int]:
    """Where the units of ``text[start:end]`` begin: at the margin, after an empty line or after what is indented."""
    begins: list[int] = []
    apart = True
    for at, line in _lines(text, start, end):
        if not line.strip():
            apart = True
            continue
        margin = not line[0].isspace()
        if margin and apart and not _CLOSER.match(line):
            begins.append(at)
        apart = not margin or _CLOSER.match(line) is not None
    if not begins or begins[0] != start:
        begins.insert(0, start)
    return begins


def after(stack: tuple[Definition, ...], code: str) -> tuple[Definition, ...]:
    """The definitions that may enclose what follows ``code``, when those of ``stack`` may enclose ``code``."""
    opened = list(stack)
    for _, line in _lines(code, 0, len(code)):
        body = line.lstrip()
        if not body:
            continue
        indent = len(line) - len(body)
        if body[0] not in ")]":
            while opened and opened[-1].indent >= indent:
                opened.pop()
        name = _defined(body)
        if name:
            opened.append(Definition(indent, name))
    return tuple(opened)


def enclosing(stack: tuple[Definition, ...], code: str, at: int) -> tuple[str, ...]:
    """The names of those of ``stack`` around the line of ``code`` that ``at`` stands in, outermost first."""
    line = code[code.rfind("\n", 0, at) + 1 :].lstrip("\n")[:1000]
    indent = len(line) - len(line.lstrip())
    return tuple(definition.name for definition in stack if definition.indent < indent)


def signatures(code: str) -> Iterator[tuple[int, int]]:
    """Spans of the lines that define something."""
    for at, line in _lines(code, 0, len(code)):
        if _defined(line.lstrip()):
            yield at, at + len(line)


def _defined(line: str) -> str | None:
    found = _NAMED.match(line[:300])
    if found:
        return f"{found['what']} {found['name'].strip()}"[:_NAME_CHARS]
    if _CONTROL.match(line):
        return None
    found = _BRACED.match(line[:300])
    return found["name"][:_NAME_CHARS] if found else None


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield start, text[start:stop]
        start = stop + 1
