"""Every setting, from the environment with the prefix ``MEMORYD_``. ``docs/configuration.md`` lists them; a test keeps it so."""

import os
from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class RerankDefault(StrEnum):
    """What ``rerank: auto`` means."""

    OFF = "off"
    ON = "on"


def default_model_cache() -> Path:
    """``$XDG_CACHE_HOME/memoryd/models``, or ``~/.cache/memoryd/models``."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "memoryd" / "models"


class Settings(BaseSettings):
    """Read once, in the composition root, and passed from there."""

    model_config = SettingsConfigDict(env_prefix="MEMORYD_", extra="ignore", frozen=True)

    # Stores
    database_url: SecretStr | None = Field(None, description="PostgreSQL as the service role; unset in `memoryd up`")
    owner_database_url: SecretStr | None = Field(None, description="PostgreSQL as the owner role; `memoryd migrate` only")
    redis_url: SecretStr | None = Field(None, description="Redis or Valkey; unset in `memoryd up`")
    database_pool_size: int = Field(10, ge=2, le=200, description="Connections of one process")
    database_timeout_s: float = Field(5.0, gt=0, le=60, description="Wait for a free connection before 503")
    statement_timeout_s: float = Field(30.0, gt=0, le=600, description="PostgreSQL statement_timeout of the service")
    redis_timeout_s: float = Field(2.0, gt=0, le=60, description="Connect and read timeout of every Redis call")

    # HTTP
    host: str = Field("127.0.0.1", description="Address the API listens on")
    port: int = Field(7077, ge=0, le=65535, description="Port the API listens on; 0 picks a free one")
    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="Larger request bodies answer 413")
    request_timeout_s: float = Field(120.0, gt=0, le=3600, description="A request that takes longer answers 504")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Never logs content at any level")
    operator_key: SecretStr | None = Field(None, min_length=16, description="Bearer key of /v1/admin; unset disables it")
    handle_secret: SecretStr | None = Field(None, min_length=16, description="Signs expand handles; the same on all replicas")
    handle_ttl_s: int = Field(3600, ge=10, le=30 * 86400, description="How long an expand handle is valid")

    # Inference
    embedding_model: str = Field("BAAI/bge-small-en-v1.5", description="Known name, hub name, or a local folder")
    rerank_model: str = Field("cross-encoder/ms-marco-MiniLM-L-12-v2", description="Same, or empty for none")
    model_cache: Path = Field(default_factory=default_model_cache, description="Where `memoryd models pull` puts models")
    inference_threads: int = Field(0, ge=0, le=256, description="Threads of one inference run; 0 = all cores")
    rerank_default: RerankDefault = Field(RerankDefault.OFF, description="What `rerank: auto` does")
    rerank_budget_ms: float = Field(1000.0, gt=0, le=60000, description="Time for reranking; the depth adapts to it")
    rerank_depth: int = Field(20, ge=1, le=200, description="Most candidates that are reranked")

    # Recall
    arm_timeout_ms: float = Field(2000.0, gt=0, le=60000, description="An arm slower than this is dropped and named")
    exact_limit: int = Field(12_000, ge=0, le=10_000_000, description="Up to so many vectors are scanned exactly")

    # Maintenance (worker)
    ann_tail: int = Field(2_000, ge=1, description="Unindexed vectors of a large tenant before the worker indexes them")
    idempotency_ttl_s: int = Field(86_400, ge=60, description="How long an Idempotency-Key is remembered")
    maintenance_interval_s: int = Field(15, ge=1, le=3600, description="Pause between the worker's rounds")
