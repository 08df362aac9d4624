"""What the client reads and sends, held against the service: its OpenAPI document, and the words that it knows."""

from enum import StrEnum
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from ingestion.chunk import Strategy
from memoryd.client import (
    access_models,
    generation_models,
    job_models,
    memory_models,
    models,
    questions,
    recalling,
    session_models,
)
from memoryd.client.conversing import NewMessage
from memoryd.client.ingesting import NewDocument
from memoryd.client.questions import Filters, KbSource, Question
from memoryd.client.remembering import NewMemory, NewTurn
from memoryd.generations.model import ScopeKind
from memoryd.http.schemas.knowledge import ChunkingIn
from memoryd.jobs.model import ItemState, JobState
from memoryd.memory.model import Kind
from memoryd.memory.reranking import RerankMode
from memoryd.sessions.model import AutoCommit, Role
from retrieval.candidates import Fusion
from retrieval.packing import Format, Order
from retrieval.scope import Action
from retrieval.search import Arm
from tests.http.document import document

DOCUMENT: dict[str, Any] = dict(document())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
ANSWERS: tuple[type[BaseModel], ...] = (
    models.BasePage,
    models.VersionPage,
    models.Diff,
    models.Collected,
    models.DocumentPage,
    models.ChunkPage,
    models.Uploads,
    models.Comparison,
    job_models.JobPage,
    job_models.JobItemPage,
    memory_models.Recall,
    memory_models.Context,
    memory_models.Remembered,
    memory_models.MemoryPage,
    memory_models.HistoryPage,
    session_models.Appended,
    session_models.SessionMessagePage,
    session_models.SessionPage,
    session_models.SessionContext,
    session_models.State,
    session_models.WrittenState,
    session_models.Effect,
    session_models.Checkpoints,
    session_models.Restored,
    session_models.Snapshots,
    session_models.Committed,
    session_models.SessionSettings,
    access_models.SpacePage,
    access_models.NewKey,
    access_models.KeyPage,
    access_models.NewTenant,
    access_models.TenantPage,
    access_models.AuditPage,
    access_models.OperatorLogPage,
    access_models.Readiness,
    generation_models.GenerationPage,
)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: one.__name__)
def test_the_service_answers_with_what_the_client_reads(answer: type[BaseModel]) -> None:
    assert set(answer.model_fields) == set(SCHEMAS[answer.__name__]["properties"])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (access_models.Action, Action),
        (generation_models.GenerationScope, ScopeKind),
        (job_models.ItemState, ItemState),
        (job_models.JobState, JobState),
        (memory_models.Kind, Kind),
        (models.Strategy, Strategy),
        (questions.Arm, Arm),
        (questions.Fusion, Fusion),
        (questions.Rerank, RerankMode),
        (recalling.Format, Format),
        (recalling.Order, Order),
        (session_models.AutoCommit, AutoCommit),
        (session_models.Role, Role),
    ],
)
def test_words_of_arguments_are_those_of_the_service(ours: Any, theirs: type[StrEnum]) -> None:
    assert set(get_args(ours)) == set(theirs)


def test_chunking_is_that_of_a_new_knowledge_base() -> None:
    assert models.Chunking().model_dump() == ChunkingIn().model_dump()


def test_a_document_for_a_job_is_what_the_service_takes() -> None:
    fields = set(SCHEMAS["DocumentIn"]["properties"])
    assert set(NewDocument.__dataclass_fields__) == fields


@pytest.mark.parametrize(
    ("ours", "theirs", "differ"),
    [
        (NewMemory, "MemoryIn", {"source_type", "source_uri", "source"}),
        (NewTurn, "MessageIn", set()),
        (NewMessage, "SessionMessageIn", set()),
        (Filters, "FiltersIn", set()),
        (Question, "RecallIn", {"max_text_chars"}),
        (KbSource, "KbSourceIn", {"metadata", "document_ids", "filters"}),
    ],
)
def test_what_is_sent_is_what_the_service_takes(ours: Any, theirs: str, differ: set[str]) -> None:
    """Fields that only one side has are said otherwise there."""
    assert set(ours.__dataclass_fields__) ^ set(SCHEMAS[theirs]["properties"]) == differ


def test_limits_of_the_client_are_those_of_the_service() -> None:
    most = SCHEMAS["DocumentIn"]["properties"]["document_id"]["maxLength"]
    assert most == 500
    assert SCHEMAS["IngestIn"]["properties"]["documents"]["maxItems"] == 10_000
    assert SCHEMAS["CompareIn"]["properties"]["documents"]["maxProperties"] >= 5_000
