"""Progress of reading, uploading, ingesting and embedding anew, on standard error.

Where that is no terminal, only the changes of an embedding generation are told, which takes hours: a line each.
"""

from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from memoryd.cli.shown import seconds
from memoryd.client import Generation, Job
from memoryd.client import Progress as Local

_MIB = 2**20


class Bars:
    """One line a phase. Both methods may be called from any thread."""

    def __init__(self) -> None:
        self._shown = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            console=Console(stderr=True),
            disable=not Console(stderr=True).is_terminal,
        )
        self._phases: dict[str, TaskID] = {}
        self._last = ""

    def __enter__(self) -> Self:
        self._shown.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shown.stop()

    def local(self, progress: Local) -> None:
        """Of reading, whose end is not known, and of uploading."""
        if progress.total_bytes is None:
            self._show("reading", f"{progress.files:,} files, {progress.bytes / _MIB:,.1f} MiB", 1, None)
            return
        self._end("reading")
        files = f"{progress.files:,} of {progress.total_files:,} files"
        said = f"{files}, {progress.bytes / _MIB:,.1f} of {progress.total_bytes / _MIB:,.1f} MiB"
        self._show("uploading", said, progress.bytes, progress.total_bytes)

    def job(self, job: Job) -> None:
        """Of a job; the next job has a line of its own."""
        self._end("reading")
        counters = job.counters
        self._show(f"job …{str(job.id)[-6:]}", said(job), counters.ended, counters.items)

    def generation(self, found: Generation) -> None:
        """Of an embedding generation, a line a state; without a terminal one whenever its state, or what keeps it, changes."""
        if self._shown.disable:
            self._tell(found)
            return
        for phase in [one for one in self._phases if one != found.state]:
            self._end(phase)
        progress = found.progress
        if found.state != "building":
            self._show(found.state, found.failure or "", 0, None)
            return
        parts = [f"{progress.done:,} of {progress.total or 0:,} items"]
        if progress.tokens_per_second is not None:
            parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
        if progress.eta_s is not None:
            parts.append(f"{seconds(progress.eta_s)} left")
        if found.paused:
            parts.append("paused")
        if found.failure is not None:
            parts.append(found.failure)
        self._show(found.state, ", ".join(parts), progress.done, progress.total)

    def _tell(self, found: Generation) -> None:
        parts = [f"generation {found.number}: {found.state}", "measuring" if found.measuring else "", found.failure or ""]
        told = ", ".join(part for part in parts if part)
        if told != self._last:
            click.echo(told, err=True)
        self._last = told

    def _show(self, phase: str, said: str, done: int, total: int | None) -> None:
        if phase not in self._phases:
            self._phases[phase] = self._shown.add_task(phase, total=total, said="")
        self._shown.update(self._phases[phase], completed=done, total=total, said=said)

    def _end(self, phase: str) -> None:
        if phase in self._phases:
            self._shown.update(self._phases[phase], completed=1, total=1)


class Count:
    """How many so far, of something whose end is not known."""

    def __init__(self, doing: str) -> None:
        errors = Console(stderr=True)
        self._shown = Progress(
            SpinnerColumn(), TextColumn("{task.description} {task.completed:,}"), console=errors, disable=not errors.is_terminal
        )
        self._task = self._shown.add_task(doing, total=None)

    def __enter__(self) -> Self:
        self._shown.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shown.stop()

    def add(self, more: int) -> None:
        """So many more."""
        self._shown.update(self._task, advance=more)


def said(job: Job) -> str:
    """How a job stands, in one line."""
    counters, rates = job.counters, job.per_second
    parts = [f"{counters.ended:,} of {counters.items:,} documents", f"{counters.chunks:,} chunks"]
    if rates.chunks is not None:
        parts.append(f"{rates.chunks:,.1f} chunks/s")
    if counters.failed:
        parts.append(f"{counters.failed:,} failed")
    if job.final:
        parts.append(job.state)
    elif job.wish is not None:
        parts.append({"pause": "is being paused", "cancel": "is being cancelled"}[job.wish])
    elif job.state == "paused":
        parts.append(f"paused: memoryd jobs resume {job.id}")
    elif job.state == "queued":
        parts.append("waits for a worker")
    elif job.eta_s is not None:
        parts.append(f"{seconds(job.eta_s)} left")
    return ", ".join(parts)
