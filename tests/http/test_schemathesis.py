"""Schemathesis over the whole OpenAPI document, against the API role as deployed: a process with real stores and models.

``MEMORYD_FUZZ_EXAMPLES`` sets how many requests are drawn for each operation, beside the boundary values of every field,
which are always tried. The same requests come in every run.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection

from memoryd.embedded.ports import listen
from memoryd.settings import Settings
from tests.http.document import document
from tests.stack import OPERATOR_KEY

EXAMPLES = int(os.environ.get("MEMORYD_FUZZ_EXAMPLES") or 25)

# Every check that schemathesis has, but these.
LEFT_OUT = (
    # What a drawn request may be answered depends on what other requests made (names taken, revisions, keys revoked) and
    # on rules that JSON Schema cannot say (no blank text, an interval's order, bytes of metadata): not every valid one
    # succeeds.
    "positive_data_acceptance",
    # These follow one object through several requests, and test_memories.py and test_tenancy.py do that: here each
    # request stands alone.
    "use_after_free",
    "ensure_resource_availability",
    "object_level_authorization",
)

Case = schemathesis.Case[Any]

SCHEMA = schemathesis.openapi.from_dict(
    document(),
    config=SchemathesisConfig.from_dict(
        {
            "checks": {name: {"enabled": False} for name in LEFT_OUT},
            "generation": {"deterministic": True, "database": "none", "with-security-parameters": False},
            # Ids that the server chose differ from run to run, so nothing is drawn from its answers; see Served.existing.
            "phases": {
                "examples": {"extra-data-sources": {"responses": False}},
                "coverage": {"extra-data-sources": {"responses": False}},
                "fuzzing": {"extra-data-sources": {"responses": False}, "error-feedback": {"enabled": False}},
            },
        }
    ),
)


@dataclass(frozen=True)
class Served:
    """The API at an address, with ids of things that exist, by the name of the path's parameter."""

    url: str
    key: str
    session: requests.Session
    ids: dict[str, Iterator[UUID]]

    def existing(self, case: Case) -> None:
        """Give two of three cases an id that exists: a drawn one never does."""
        for name, ids in self.ids.items():
            drawn = case.path_parameters.get(name)
            if isinstance(drawn, str) and _well_formed(drawn) and UUID(drawn).int % 3:
                case.path_parameters[name] = str(next(ids))


def _well_formed(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


@pytest.fixture(scope="module")
def served(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``memoryd api`` on the session's stack, with a tenant of its own."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("api") / "api.log"
    with ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-m", "memoryd", "api", "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, **_environment(settings)},
            stdout=stack.enter_context(log.open("wb")),
            stderr=subprocess.STDOUT,
        )
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        http = stack.enter_context(httpx.Client(base_url=url, timeout=60))
        _ready(http, process, log)
        yield _seeded(url, http, stack.enter_context(requests.Session()))


def _environment(settings: Settings) -> dict[str, str]:
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return {
        f"MEMORYD_{name.upper()}": str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for name, value in values.items()
        if value is not None
    }


def _ready(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(log.read_text())


def _seeded(url: str, http: httpx.Client, session: requests.Session) -> Served:
    """A tenant with memories and keys to spare, and tenants to spare: the requests suspend, revoke and forget them."""

    def post(path: str, key: str, body: dict[str, object]) -> httpx.Response:
        return http.post(path, json=body, headers={"Authorization": f"Bearer {key}"}).raise_for_status()

    key = post("/v1/admin/tenants", OPERATOR_KEY, {"name": "fuzzed"}).json()["key"]["key"]
    tenants = [post("/v1/admin/tenants", OPERATOR_KEY, {"name": f"spare-{n}"}).json()["id"] for n in range(5)]
    keys = [post("/v1/keys", key, {"name": f"spare {n}"}).json()["id"] for n in range(20)]
    texts = [{"text": f"Caroline went to the support group number {n}."} for n in range(40)]
    memories = [one["id"] for one in post("/v1/memories", key, {"memories": texts}).json()["results"]]
    ids = {"memory_id": memories, "key_id": keys, "tenant_id": tenants}
    return Served(url, key, session, {name: cycle(map(UUID, some)) for name, some in ids.items()})


@SCHEMA.parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@pytest.mark.timeout(900)
def test_every_answer_is_documented(case: Case, served: Served) -> None:
    served.existing(case)
    key = OPERATOR_KEY if case.operation.path.startswith("/v1/admin/") else served.key
    case.call_and_validate(
        base_url=served.url,
        session=served.session,
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
        excluded_checks=[negative_data_rejection] if _texts_on_the_wire(case) else [],
    )


def _texts_on_the_wire(case: Case) -> bool:
    """A list in a query is a list of texts, whatever was drawn for its items: nobody can see that a number was meant."""
    lists = [value for value in (case.query or {}).values() if isinstance(value, list)]
    return any(not isinstance(item, str) for items in lists for item in items)
