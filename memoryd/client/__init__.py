"""The Python client. It needs httpx and pydantic, and nothing of the server.

::

    from pathlib import Path

    from memoryd.client import Memoryd, Options

    with Memoryd("http://127.0.0.1:7077", key) as memoryd:
        memoryd.remember("Caroline prefers oat milk in her coffee.")
        for hit in memoryd.recall("What does Caroline drink?").hits:
            print(hit.score, hit.text)
        memoryd.knowledge.create("handbook")
        begun = memoryd.knowledge.ingest_folder("handbook", Path("docs"), options=Options(publish=True))
        print(memoryd.knowledge.finish("handbook", begun).live)

``AsyncMemoryd`` has the same methods as coroutines.
"""

from memoryd.client.access_models import Action, AuditEntry, Key, NewKey, NewTenant, OperatorEntry, Readiness, Space, Tenant
from memoryd.client.bases import UNSET
from memoryd.client.bulk import Finished, Ingestion, Options
from memoryd.client.clients import AsyncMemoryd, Memoryd
from memoryd.client.conversing import NewMessage, SessionEvent
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
    Unsayable,
    WaitedTooLong,
)
from memoryd.client.generation_models import Generation, GenerationProgress
from memoryd.client.ingesting import NewDocument
from memoryd.client.job_models import Counters, DeadLetter, Failure, Job, JobItem, Rates, Replayed
from memoryd.client.jobs import JobEvent
from memoryd.client.memory_models import (
    ChatMessage,
    Citation,
    Context,
    ContextItem,
    Dropped,
    Explanation,
    Hit,
    Kind,
    Memory,
    Recall,
    Revision,
    Source,
    Written,
)
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
from memoryd.client.questions import Filters, KbSource, Question, Reranking, SpaceSource
from memoryd.client.remembering import NewMemory, NewTurn
from memoryd.client.retries import Retries
from memoryd.client.session_models import (
    Appended,
    Checkpoint,
    Committed,
    Effect,
    Entry,
    Restored,
    Session,
    SessionContext,
    SessionMessage,
    SessionSettings,
    Snapshot,
)
from memoryd.client.sources import Local, Refused
from memoryd.client.walking import Walk, Which

__all__ = [
    "UNSET",
    "Action",
    "Appended",
    "AsyncMemoryd",
    "AuditEntry",
    "ChatMessage",
    "Checkpoint",
    "Chunk",
    "Chunking",
    "Citation",
    "ClientError",
    "Collected",
    "Committed",
    "Comparison",
    "Conflict",
    "Context",
    "ContextItem",
    "Counters",
    "Counts",
    "DeadLetter",
    "Diff",
    "Document",
    "DocumentChange",
    "Dropped",
    "Effect",
    "Entry",
    "Explanation",
    "Failure",
    "FieldFault",
    "Filters",
    "Finished",
    "Forbidden",
    "Generation",
    "GenerationProgress",
    "Gone",
    "Hit",
    "Ingestion",
    "InvalidRequest",
    "Job",
    "JobEvent",
    "JobItem",
    "KbSource",
    "Key",
    "Kind",
    "KnowledgeBase",
    "Local",
    "Memory",
    "Memoryd",
    "MemorydProblem",
    "NewDocument",
    "NewKey",
    "NewMemory",
    "NewMessage",
    "NewTenant",
    "NewTurn",
    "NotFound",
    "OperatorEntry",
    "Options",
    "PartUnreadable",
    "Progress",
    "Question",
    "Rates",
    "Readiness",
    "Recall",
    "Refused",
    "Replayed",
    "Reranking",
    "Restored",
    "Retries",
    "Revision",
    "Session",
    "SessionContext",
    "SessionEvent",
    "SessionMessage",
    "SessionSettings",
    "Snapshot",
    "Source",
    "SourceUnreadable",
    "Space",
    "SpaceSource",
    "Tenant",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "Unsayable",
    "Uploaded",
    "Version",
    "WaitedTooLong",
    "Walk",
    "Which",
    "Written",
]
