"""``python -m tests.soak.large_text MEGABYTES``: ingests one Markdown file of that size, without embedding; prints JSON.

Fetched from object storage, parsed in its process, cut, analysed and batched as a worker does; only the database and the model
are left out, which see one batch at a time whatever the size. ``worker_mib`` and ``parser_mib`` are the most resident memory of
this process and of the largest process below it, ``before_mib`` that of this one before the document.
"""

import asyncio
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.knowledge.bench import BASE, SCOPE, Control, Drafts, Worker

_COMMON = (
    "about account after answer application area book business change child city company country day department "
    "document employee example family first form government group handbook health history holiday house idea "
    "information journey language leave letter line manager market meeting money month morning name network night "
    "number office order page paper parent people place policy problem process program question reason report room "
    "school section service system table team time train travel water week winter work world year the of and to in "
    "for is on that by this with from at are as was not"
)


def write(path: Path, megabytes: int) -> None:
    """Headings and paragraphs, no two alike."""
    chance = random.Random(megabytes)
    words = _COMMON.split()
    with path.open("w") as file:
        written = section = 0
        while written < megabytes * 1_000_000:
            section += 1
            body = "\n\n".join(" ".join(chance.choices(words, k=120)) + "." for _ in range(8))
            written += file.write(f"## Section {section}\n\n{body}\n\n")


def peak_mib() -> float:
    """The most resident memory of this process so far. Not ``ru_maxrss``, which goes back to whoever started the program."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def below_mib() -> float:
    """The most of any process that was started and has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


async def measure(folder: Path, megabytes: int) -> dict[str, object]:
    """Ingests, and says what it took."""
    path = folder / "large.md"
    write(path, megabytes)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    worker, drafts = Worker(folder), Drafts()
    key = await worker.originals.keep(SCOPE, BASE.kb_id, path, digest)
    path.unlink()
    before, started = peak_mib(), time.perf_counter()
    outcome = await worker.ingest({"key": key, "file_name": "large.md"}, drafts=drafts, control=Control())
    seconds = time.perf_counter() - started
    await worker.close()
    return {
        "megabytes": megabytes,
        "state": outcome.state,
        "chunks": outcome.chunks,
        "tokens": outcome.tokens,
        "seconds": round(seconds, 1),
        "before_mib": round(before),
        "worker_mib": round(peak_mib()),
        "parser_mib": round(below_mib()),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(asyncio.run(measure(Path(folder), int(sys.argv[1])))) + "\n")


if __name__ == "__main__":
    main()
