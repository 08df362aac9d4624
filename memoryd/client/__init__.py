"""The Python client. It needs httpx and pydantic, and nothing of the server.

::

    from pathlib import Path

    from memoryd.client import Memoryd, Options

    with Memoryd("http://127.0.0.1:7077", key) as memoryd:
        memoryd.knowledge.create("handbook")
        begun = memoryd.knowledge.ingest_folder("handbook", Path("docs"), options=Options(publish=True))
        print(memoryd.knowledge.finish("handbook", begun).live)

``AsyncMemoryd`` has the same methods as coroutines.
"""

from memoryd.client.bases import UNSET
from memoryd.client.bulk import Finished, Ingestion, Options
from memoryd.client.clients import AsyncMemoryd, Memoryd
from memoryd.client.errors import (
    ClientError,
    Conflict,
    FieldFault,
    Forbidden,
    Gone,
    InvalidRequest,
    MemorydProblem,
    NotFound,
    PartUnreadable,
    SourceUnreadable,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
)
from memoryd.client.generation_models import Generation, GenerationProgress
from memoryd.client.ingesting import NewDocument
from memoryd.client.job_models import Counters, Failure, Job, JobItem, Rates
from memoryd.client.jobs import JobEvent
from memoryd.client.models import (
    Chunk,
    Chunking,
    Collected,
    Comparison,
    Counts,
    Diff,
    Document,
    DocumentChange,
    KnowledgeBase,
    Uploaded,
    Version,
)
from memoryd.client.progress import Progress
from memoryd.client.retries import Retries
from memoryd.client.sources import Local, Refused
from memoryd.client.walking import Walk, Which

__all__ = [
    "UNSET",
    "AsyncMemoryd",
    "Chunk",
    "Chunking",
    "ClientError",
    "Collected",
    "Comparison",
    "Conflict",
    "Counters",
    "Counts",
    "Diff",
    "Document",
    "DocumentChange",
    "Failure",
    "FieldFault",
    "Finished",
    "Forbidden",
    "Generation",
    "GenerationProgress",
    "Gone",
    "Ingestion",
    "InvalidRequest",
    "Job",
    "JobEvent",
    "JobItem",
    "KnowledgeBase",
    "Local",
    "Memoryd",
    "MemorydProblem",
    "NewDocument",
    "NotFound",
    "Options",
    "PartUnreadable",
    "Progress",
    "Rates",
    "Refused",
    "Retries",
    "SourceUnreadable",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "Uploaded",
    "Version",
    "WaitedTooLong",
    "Walk",
    "Which",
]
