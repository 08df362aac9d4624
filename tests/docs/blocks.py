"""Code of a page: fenced blocks with what a comment above them says is to be done.

``<!-- run -->`` above a ``bash`` or ``python`` block: it is run, and must end well. ``<!-- run: POST /v1/recall -->`` above a
``json`` block: it is sent, and must not be refused. ``<!-- shows -->`` above any block: what was run last printed each of its
lines, in which ``…`` stands for anything. ``<!-- run with a worker -->`` makes its page one of those that need a worker. All
blocks of a page are one session of a shell: later ones see its variables.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
WORKER = "run with a worker"
_END = "--- end of block ---"


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line`` is where its code begins."""

    language: str
    code: str
    mark: str
    line: int

    @property
    def runs(self) -> bool:
        """Whether it is to be run."""
        return self.mark in {"run", WORKER} or self.mark.startswith("run: ")

    def script(self) -> str:
        """What a shell does for it. Raises ``ValueError`` for a language that nobody runs."""
        if self.mark.startswith("run: "):
            method, path = self.mark.removeprefix("run: ").split()
            return (
                f'curl -s -X {method} "$URL{path}" -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" '
                f"--data-binary @- <<'BODY'\n{self.code}BODY\n"
            )
        if self.language == "python":
            return f"python - <<'PROGRAM'\n{self.code}PROGRAM\n"
        if self.language in {"bash", "sh"}:
            return self.code
        raise ValueError(f"line {self.line}: {self.language or 'text'} cannot be run")


def blocks(page: Path) -> list[Block]:
    """All of a page, in order."""
    text = page.read_text()
    return [
        Block(found["language"], found["code"], found["mark"] or "", text.count("\n", 0, found.start("code")) + 1)
        for found in _FENCE.finditer(text)
    ]


def script(some: list[Block]) -> str:
    """One script of all that runs; it stops at the first that fails, and marks the end of each on standard output and error."""
    parts = [f'{block.script()}\necho "{_END}" | tee /dev/stderr\n' for block in some if block.runs]
    return "\n".join(["set -euo pipefail", *parts])


def outputs(printed: str) -> list[str]:
    """What each of those that ran printed, in order; the last may have failed."""
    return printed.split(f"{_END}\n")


def missing(some: list[Block], printed: list[str]) -> list[str]:
    """Lines that a page shows and that were not printed."""
    lost, ran = [], -1
    for block in some:
        if block.runs:
            ran += 1
        elif block.mark == "shows":
            wanted = (line.strip() for line in block.code.splitlines() if line.strip(" …"))
            lost += [f"line {block.line}: {line}" for line in wanted if not _pattern(line).search(printed[ran])]
    return lost


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*?".join(re.escape(part) for part in line.split("…")))
