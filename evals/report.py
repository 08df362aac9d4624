"""What a run leaves behind: JSON for programs and Markdown for people, from the same tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evals.environment import Environment

FOLDER = Path(__file__).parent / "reports"

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """One result. Every row is as long as ``columns``; a ``None`` cell was not measured."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of {self.title!r} does not match its {len(self.columns)} columns")

    def records(self) -> list[dict[str, Cell]]:
        """The rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Report:
    """A named run of ``seconds``. ``datasets`` maps ``set/file`` to its SHA-256."""

    name: str
    environment: Environment
    seconds: float
    datasets: Mapping[str, str]
    tables: tuple[Table, ...]


def to_json(report: Report) -> str:
    """The whole report; tables as lists of records."""
    document = {
        "name": report.name,
        "environment": report.environment.as_dict(),
        "seconds": round(report.seconds, 1),
        "datasets": dict(report.datasets),
        "tables": [{"title": table.title, "note": table.note, "rows": table.records()} for table in report.tables],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def to_markdown(report: Report) -> str:
    """The same for people: where and how it was measured first, then the tables."""
    environment = report.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    lines = [
        f"# Benchmark: {report.name}",
        "",
        f"- command: `{environment.command}`",
        f"- when: {environment.started_at}, commit {environment.commit}",
        f"- took: {report.seconds:.0f} s",
        f"- machine: {environment.machine}; load averages at the start {environment.load}",
        f"- versions: {versions}",
    ]
    if environment.settings:
        lines.append("- settings: " + ", ".join(f"{name} {value}" for name, value in environment.settings.items()))
    for table in report.tables:
        lines += ["", f"## {table.title}", ""]
        lines += [table.note, ""] if table.note else []
        lines += ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
        lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    if report.datasets:
        lines += ["", "## Data", "", "| file | sha256 |", "| --- | --- |"]
        lines += [f"| {file} | `{digest}` |" for file, digest in report.datasets.items()]
    return "\n".join(lines) + "\n"


def write(report: Report, folder: Path = FOLDER) -> tuple[Path, Path]:
    """Writes both files, replacing earlier ones of that name; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{report.name}.json", folder / f"{report.name}.md"
    paths[0].write_text(to_json(report), encoding="utf-8")
    paths[1].write_text(to_markdown(report), encoding="utf-8")
    return paths


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value).replace("|", "\\|")
