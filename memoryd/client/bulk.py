"""A whole folder or archive into a knowledge base: read, compare, upload what differs, order a job, see it through."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from memoryd.client.errors import SourceUnreadable
from memoryd.client.ingesting import IngestOperations, NewDocument, pages
from memoryd.client.job_models import Job
from memoryd.client.jobs import JobOperations
from memoryd.client.operation import Operation
from memoryd.client.progress import Meter, Progress, Report
from memoryd.client.sources import NOT_A_FILE, Hashed, Local, Refused, hashed
from memoryd.client.steps import Steps, done
from memoryd.client.uploads import batches, uploaded
from memoryd.client.walking import Walk, Which

MOST_ITEMS = 10_000
"""Documents and removals of one job."""


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What was begun. ``passed``: how many things in the source were passed over, being no files. ``publish``: it is to be
    published; ``by_job``: the job does that, else :meth:`BulkOperations.finish`."""

    jobs: tuple[Job, ...]
    unchanged: int
    sent: int
    removed: int
    bytes: int
    refused: tuple[Refused, ...]
    passed: int
    publish: bool
    by_job: bool
    note: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """How it came out; ``live``: the version that is live now, where a publish was asked for and nothing failed."""

    ingestion: Ingestion
    live: int | None

    @property
    def good(self) -> bool:
        """Every job succeeded, and no document was refused."""
        return not self.ingestion.refused and all(job.state == "succeeded" for job in self.ingestion.jobs)


@dataclass(frozen=True, slots=True)
class Options:
    """``prune``: documents of the next version whose id begins with this and that the source does not have are removed.
    ``everything``: send also what has not changed, after a change of the chunking. ``publish``: when no document failed."""

    prune: str | None = None
    everything: bool = False
    publish: bool = False
    note: str | None = None


_DEFAULT = Options()
_EVERYTHING = Which()


class BulkOperations(IngestOperations):
    """Everything here may be broken off and begun again: what is in the draft by then is not sent twice."""

    @Operation
    def ingest_local(
        self, name: str, files: Iterable[Local | Refused], *, options: Options = _DEFAULT, report: Report | None = None
    ) -> Steps[Ingestion]:
        """Read, compare, upload what differs, and order jobs; it does not wait for them.

        ``report`` is called as it goes on, by the asynchronous client from another thread. A document that was refused here
        keeps the rest from being published, as one that fails in the job does.
        Raises ``SourceUnreadable`` for two files of one id, and where ``prune`` would remove everything, or all that came from
        one of the sources of a :class:`Walk`.
        """
        read, refused = yield from _read(files, report)
        if options.prune is not None and not read:
            raise SourceUnreadable("there is no document in the source: pruning would remove everything")
        if options.prune is not None and isinstance(files, Walk) and files.empty:
            named = ", ".join(map(str, files.empty))
            raise SourceUnreadable(f"there is no document in {named}: pruning would remove everything that came from there")
        wanted = yield from self._wanted(name, read, options)
        kept = yield from self._uploaded(name, wanted, refused, report)
        gone: set[str] = set()
        if options.prune is not None:
            gone = yield from IngestOperations.next_ids.steps(self, name, options.prune)
            unread = {one.document_id.rstrip("/") for one in refused}
            gone = {one for one in gone - read.keys() if not _within(one, unread)}
        documents = [NewDocument(one, upload=kept[one], file_name=read[one].local.file_name) for one in read if one in kept]
        publish = options.publish and all(one.reason == NOT_A_FILE for one in refused)
        jobs = yield from self._ordered(name, documents, sorted(gone), publish, options.note)
        return Ingestion(
            jobs=jobs,
            unchanged=len(read) - len(wanted),
            sent=len(documents),
            removed=len(gone),
            bytes=sum(one.size for one in wanted),
            refused=tuple(one for one in refused if one.reason != NOT_A_FILE),
            passed=sum(one.reason == NOT_A_FILE for one in refused),
            publish=publish,
            by_job=publish and len(jobs) == 1,
            note=options.note,
        )

    @Operation
    def ingest_folder(
        self,
        name: str,
        folder: Path | str,
        *,
        which: Which = _EVERYTHING,
        options: Options = _DEFAULT,
        report: Report | None = None,
    ) -> Steps[Ingestion]:
        """As :meth:`ingest_local`, of a folder, whose paths are the ids, or of an archive, or of one file.

        Raises ``SourceUnreadable``.
        """
        with Walk([folder], which) as walk:
            return (yield from BulkOperations.ingest_local.steps(self, name, walk, options=options, report=report))

    @Operation
    def finish(self, name: str, ingestion: Ingestion, *, on_change: Callable[[Job], None] | None = None) -> Steps[Finished]:
        """Wait for the jobs, and publish what no job publishes. ``on_change`` is told of every step of every job."""
        jobs = JobOperations()
        jobs.side = self.side
        ended: list[Job] = []
        for job in ingestion.jobs:
            last = yield from JobOperations.wait.steps(jobs, job.id, on_change=on_change)
            ended.append(last)
        good = all(job.state == "succeeded" for job in ended)
        if good and ingestion.publish and not ingestion.by_job:
            publishing = yield from self._publishing(name, ingestion.note)
            if publishing is not None:
                ended.append((yield from JobOperations.wait.steps(jobs, publishing.id, on_change=on_change)))
                good = ended[-1].state == "succeeded"
        ingestion = replace(ingestion, jobs=tuple(ended))
        if not ingestion.publish or not good:
            return Finished(ingestion, None)
        return Finished(ingestion, (yield from IngestOperations.get.steps(self, name)).live)

    def _wanted(self, name: str, read: dict[str, Hashed], options: Options) -> Steps[list[Hashed]]:
        if options.everything or not read:
            return list(read.values())
        found = yield from IngestOperations.compare.steps(self, name, {one: it.sha256 for one, it in read.items()})
        unchanged = set(found.unchanged)
        return [it for one, it in read.items() if one not in unchanged]

    def _uploaded(
        self, name: str, wanted: Sequence[Hashed], refused: list[Refused], report: Report | None
    ) -> Steps[dict[str, str]]:
        """By document id the SHA-256 of what was uploaded; contents that several documents share go once."""
        first: dict[str, Hashed] = {}
        for one in wanted:
            first.setdefault(one.sha256, one)
        meter = Meter(report, list(first.values()))
        kept: dict[str, str] = {}
        failed: dict[str, Refused] = {}
        for batch in batches(first.values()):
            some, lost = yield from uploaded(name, [meter.counted(one) for one in batch], self.retries)
            kept |= some
            failed |= {one.document_id: one for one in lost}
            meter.ended(batch)
        found: dict[str, str] = {}
        for one in wanted:
            sender = first[one.sha256].local.document_id
            if sender in kept:
                found[one.local.document_id] = kept[sender]
            else:
                refused.append(replace(failed[sender], document_id=one.local.document_id))
        return found

    def _ordered(
        self, name: str, documents: Sequence[NewDocument], gone: Sequence[str], publish: bool, note: str | None
    ) -> Steps[tuple[Job, ...]]:
        """One job; several when there are more than 10,000 items, of which none publishes: it would be before the others."""
        items: list[NewDocument | str] = [*documents, *gone]
        jobs: list[Job] = []
        for some in pages(items, MOST_ITEMS):
            new = [one for one in some if isinstance(one, NewDocument)]
            old = [one for one in some if isinstance(one, str)]
            last = publish and len(items) <= MOST_ITEMS
            jobs.append((yield from IngestOperations.ingest.steps(self, name, new, remove=old, publish=last, note=note)))
        return tuple(jobs)

    def _publishing(self, name: str, note: str | None) -> Steps[Job | None]:
        """A job that publishes the draft, if it holds anything: a large one takes longer than a request may."""
        draft = yield from IngestOperations.draft.steps(self, name)
        if draft is None or (yield from IngestOperations.diff.steps(self, name)).empty:
            return None
        return (yield from IngestOperations.ingest.steps(self, name, [], publish=True, note=note))


def _read(files: Iterable[Local | Refused], report: Report | None) -> Steps[tuple[dict[str, Hashed], list[Refused]]]:
    """By document id. Raises ``SourceUnreadable`` for an id that comes twice."""
    left = iter(files)
    read: dict[str, Hashed] = {}
    refused: list[Refused] = []
    seen = 0
    while (found := (yield from done(lambda: _next(left)))) is not None:
        if isinstance(found, Refused):
            refused.append(found)
            continue
        first = read.setdefault(found.local.document_id, found)
        if first is not found:
            places = [one.local.source for one in (first, found) if one.local.source is not None]
            where = f", in {' and in '.join(places)}" if places else ""
            said = f"two files have the document id {found.local.document_id}{where}"
            raise SourceUnreadable(f"{said}: ingest each by itself, with a prefix of its own")
        seen += found.size
        if report is not None:
            report(Progress("read", len(read), seen))
    return read, refused


def _within(document_id: str, names: Set[str]) -> bool:
    """Whether it is one of ``names`` or below one, as all that a folder holds is. Nothing is the name of the root."""
    parts = document_id.split("/")
    return any("/".join(parts[:depth]) in names for depth in range(len(parts) + 1))


def _next(files: Iterator[Local | Refused]) -> Hashed | Refused | None:
    try:
        found = next(files, None)
    except OSError as error:
        raise SourceUnreadable(f"the source cannot be read: {error}") from error
    return hashed(found) if isinstance(found, Local) else found
