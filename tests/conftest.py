"""Fixtures that more than one folder uses."""

import os
from collections.abc import Iterator

import hypothesis
import pytest

from memoryd.database_wiring import prepare_database
from memoryd.models import pull_models
from memoryd.settings import Settings
from tests.s3 import S3, Bucket
from tests.stack import OPERATOR_KEY, Stack, running_stack

# The same examples every time, so that CI fails for what changed; HYPOTHESIS_PROFILE=explore looks for new ones.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Real PostgreSQL and Valkey."""
    with running_stack() as running:
        yield running


@pytest.fixture(scope="session")
def settings(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The service on the session's stack, migrated, with the default models."""
    for name in [name for name in os.environ if name.startswith("MEMORYD_") and name != "MEMORYD_MODEL_CACHE"]:
        del os.environ[name]
    settings = Settings.model_validate(
        {
            "database_url": stack.service_url,
            "owner_database_url": stack.owner_url,
            "redis_url": stack.redis_url,
            "object_store": str(tmp_path_factory.mktemp("objects")),
            "operator_key": OPERATOR_KEY,
            "handle_secret": "handle-secret-of-the-tests",
            "rerank_budget_ms": 5000,
            "mcp_allowed_hosts": "memoryd.test",
        }
    )
    pull_models(settings, print)
    prepare_database(settings)
    return settings


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A server that speaks S3."""
    server = S3()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, and the environment to reach it with."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.bucket()
