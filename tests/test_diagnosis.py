"""What ``memoryd doctor`` finds: what the API would not start with."""

import os
import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from memoryd.diagnosis import Finding, diagnose
from memoryd.jobs.courier import ALIVE
from memoryd.models import open_models
from memoryd.settings import Settings
from memoryd.stores.migrate import MigrationRefused
from memoryd.stores.redis import Redis
from memoryd.wiring import open_services
from retrieval.errors import ModelNotFound
from retrieval.inference import ModelStore
from tests.sessions.conftest import evicting


async def findings(settings: Settings, **changed: object) -> dict[str, Finding]:
    """By name."""
    return {one.name: one for one in await diagnose(settings.model_copy(update=changed))}


async def test_all_is_well(settings: Settings) -> None:
    found = await findings(settings)
    assert all(one.ok for one in found.values()), found
    assert found["reranker"].detail == settings.rerank_model
    assert "reranker" not in await findings(settings, rerank_model="")


async def test_a_queue_that_is_away_is_named_and_not_the_server_of_sessions(settings: Settings) -> None:
    found = await findings(settings, jobs_redis_url=SecretStr("redis://127.0.0.1:9"))
    assert found["redis"].ok
    assert not found["queue"].ok
    assert "MEMORYD_JOBS_REDIS_URL" in (found["queue"].fix or "")


async def test_whether_there_is_a_worker(settings: Settings) -> None:
    assert settings.redis_url is not None
    queue = settings.redis_url.get_secret_value().removesuffix("/0") + "/8"
    other = {"jobs_redis_url": SecretStr(queue)}
    found = (await findings(settings, **other))["worker"]
    assert (found.ok, "memoryd worker" in found.detail) == (True, True)
    redis = Redis(queue, timeout_s=5)
    try:
        await redis.command("SET", ALIVE, "1")
        assert (await findings(settings, **other))["worker"].detail == "there is one"
    finally:
        await redis.command("DEL", ALIVE)
        await redis.close()


async def test_a_reranker_that_is_not_there(settings: Settings) -> None:
    """The API does not start without the one that is configured."""
    missing = settings.model_copy(update={"rerank_model": "none/such"})
    with pytest.raises(ModelNotFound):
        async with open_models(missing):
            pass
    found = (await findings(missing))["reranker"]
    assert not found.ok
    assert "models pull" in found.fix


@pytest.mark.parametrize("urls", ["http://127.0.0.1:1", "nonsense"])
async def test_servers_of_the_reranker_that_do_not_answer(settings: Settings, urls: str) -> None:
    found = (await findings(settings, rerank_urls=urls))["reranker"]
    assert not found.ok
    assert "MEMORYD_RERANK_URLS" in found.fix
    found = (await findings(settings, embedding_urls=urls, inference_start_s=0.0, rerank_model=""))["models"]
    assert not found.ok
    assert "MEMORYD_EMBEDDING_URLS" in found.fix


async def test_a_model_that_the_database_has_no_vectors_of(settings: Settings, tmp_path: Path) -> None:
    """The API refuses to start: a setting changes no model."""
    other = tmp_path / "another-model"
    shutil.copytree(ModelStore(settings.model_cache).locate(settings.embedding_model).folder, other, copy_function=os.symlink)
    written = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").unlink()
    (other / "tokenizer.json").write_text(written + "\n")  # another revision
    changed = settings.model_copy(update={"embedding_model": str(other)})
    with pytest.raises(MigrationRefused):
        async with open_services(changed):
            pass
    found = await findings(changed)
    assert found["models"].ok, found["models"].detail
    assert not found["generation"].ok
    assert "there is none of the configured model" in found["generation"].detail


async def test_a_redis_that_drops_keys(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert "eviction" not in await findings(settings)
    assert settings.redis_url is not None
    redis = Redis(settings.redis_url.get_secret_value(), timeout_s=5)
    try:
        async with evicting(redis, "allkeys-lru"):
            found = (await findings(settings))["eviction"]
            async with open_services(settings):
                pass
    finally:
        await redis.close()
    assert not found.ok
    assert "allkeys-lru" in found.detail
    assert "noeviction" in found.fix
    assert "allkeys-lru" in caplog.text
