"""What the client reads and sends, its own models and the shared ones, held against the service's OpenAPI document."""

from typing import Any

import pytest
from pydantic import BaseModel

from memoryd.client import access_models, job_models, memory_models, models, session_models
from memoryd.client.conversing import NewMessage
from memoryd.client.ingesting import NewDocument
from memoryd.client.questions import Filters, KbSource, Question
from memoryd.client.remembering import NewMemory, NewTurn
from tests.http.document import document

DOCUMENT: dict[str, Any] = dict(document())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OURS: dict[str, type[BaseModel]] = {
    "BaseOut": models.KnowledgeBase,
    "BasePage": models.BasePage,
    "VersionOut": models.Version,
    "VersionPage": models.VersionPage,
    "DiffOut": models.Diff,
    "CollectedOut": models.Collected,
    "DocumentOut": models.Document,
    "DocumentPage": models.DocumentPage,
    "ChunkOut": models.Chunk,
    "ChunkPage": models.ChunkPage,
    "UploadsOut": models.Uploads,
    "CompareOut": models.Comparison,
    "JobOut": job_models.Job,
    "JobPage": job_models.JobPage,
    "JobItemOut": job_models.JobItem,
    "JobItemPage": job_models.JobItemPage,
    "RecallOut": memory_models.Recall,
    "ContextOut": memory_models.Context,
    "RememberOut": memory_models.Remembered,
    "MemoryPage": memory_models.MemoryPage,
    "HistoryPage": memory_models.HistoryPage,
    "AppendOut": session_models.Appended,
    "SessionMessagePage": session_models.SessionMessagePage,
    "SessionPageOut": session_models.SessionPage,
    "SessionContextOut": session_models.SessionContext,
    "StateOut": session_models.State,
    "WrittenStateOut": session_models.WrittenState,
    "EffectOut": session_models.Effect,
    "CheckpointsOut": session_models.Checkpoints,
    "RestoreOut": session_models.Restored,
    "SnapshotsOut": session_models.Snapshots,
    "CommitOut": session_models.Committed,
    "SpacePage": access_models.SpacePage,
    "NewKeyOut": access_models.NewKey,
    "KeyPage": access_models.KeyPage,
    "NewTenantOut": access_models.NewTenant,
    "TenantPage": access_models.TenantPage,
    "ReadyOut": access_models.Readiness,
}
# Words for people, and what only one side says about a value that is always there.
_WORDS = {"title", "description", "examples", "default"}


def _shape(schema: Any, among: dict[str, Any]) -> Any:
    """What a value may be: names resolved, words left out."""
    if isinstance(schema, list):
        return [_shape(one, among) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _shape(among[schema["$ref"].rsplit("/", 1)[-1]], among)
    if "properties" in schema:
        return {name: _shape(one, among) for name, one in schema["properties"].items()}
    return {name: _shape(one, among) for name, one in schema.items() if name not in _WORDS}


def _within(ours: Any, theirs: Any, where: str) -> None:
    """Every field of ours is there, and is what we take it for; the service may have more of them."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, one in ours.items():
            assert name in theirs, f"{where}.{name} is not in the document"
            _within(one, theirs[name], f"{where}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            _within(one, other, f"{where}.{number}")
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("name", OURS)
def test_the_service_answers_what_the_client_reads(name: str) -> None:
    schema = OURS[name].model_json_schema(mode="serialization")
    _within(_shape(schema, schema.get("$defs", {})), _shape(SCHEMAS[name], SCHEMAS), name)


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
