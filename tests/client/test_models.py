"""The client's models are its own; here they are held against the service's OpenAPI document."""

from typing import Any

import pytest

from memoryd.client import job_models, models
from memoryd.client.ingesting import NewDocument
from memoryd.client.models import Model
from tests.http.document import document

DOCUMENT: dict[str, Any] = dict(document())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OURS: dict[str, type[Model]] = {
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


def test_limits_of_the_client_are_those_of_the_service() -> None:
    most = SCHEMAS["DocumentIn"]["properties"]["document_id"]["maxLength"]
    assert most == 500
    assert SCHEMAS["IngestIn"]["properties"]["documents"]["maxItems"] == 10_000
    assert SCHEMAS["CompareIn"]["properties"]["documents"]["maxProperties"] >= 5_000
