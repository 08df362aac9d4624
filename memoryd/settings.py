"""Every setting, from the environment with the prefix ``MEMORYD_``. ``docs/configuration.md`` lists them; a test keeps it so."""

import os
from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from retrieval.inference.remote.kinds import ServerKind


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
    jobs_redis_url: SecretStr | None = Field(None, description="The worker's queue; needed where `redis_url` is a cluster")
    database_pool_size: int = Field(10, ge=3, le=200, description="Connections of one pool: the API has one, a worker four")
    database_timeout_s: float = Field(5.0, gt=0, le=60, description="Wait for a free connection before 503")
    statement_timeout_s: float = Field(30.0, gt=0, le=600, description="PostgreSQL statement_timeout of the service")
    redis_timeout_s: float = Field(2.0, gt=0, le=60, description="Connect and read timeout of every Redis call")
    redis_connections: int = Field(64, ge=2, le=10_000, description="Connections of one process to Redis")
    object_store: str | None = Field(None, description="Folder or URL (`s3://bucket/prefix`) of session snapshots")
    object_store_timeout_s: float = Field(10.0, gt=0, le=300, description="Timeout of a request to the object store")

    # HTTP
    host: str = Field("127.0.0.1", description="Address the API listens on")
    port: int = Field(7077, ge=0, le=65535, description="Port the API listens on; 0 picks a free one")
    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="Larger request bodies answer 413")
    max_upload_bytes: int = Field(2**30, ge=1024, description="Larger uploads of files to a knowledge base answer 413")
    upload_timeout_s: float = Field(
        3600.0, gt=0, le=86_400, description="An upload that takes longer answers 504; a download of an original is cut off"
    )
    max_connections: int = Field(800, ge=1, le=1_000_000, description="Connections of clients to one process; more are refused")
    request_timeout_s: float = Field(120.0, gt=0, le=3600, description="A request that takes longer answers 504")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Never logs content at any level")
    operator_key: SecretStr | None = Field(None, min_length=16, description="Bearer key of /v1/admin; unset disables it")
    handle_secret: SecretStr | None = Field(None, min_length=16, description="Signs expand handles; the same on all replicas")
    handle_ttl_s: int = Field(3600, ge=10, le=30 * 86400, description="How long an expand handle is valid")

    # MCP
    public_url: str | None = Field(None, pattern="^https?://[^/]+/?$", description="Where clients reach the API (MCP metadata)")
    mcp_allowed_hosts: str = Field("", description="Host names that /mcp answers to, with commas between; `*` for any")
    mcp_allowed_origins: str = Field("", description="Origins of web pages that may use /mcp, with commas between")

    # Inference
    embedding_model: str = Field("BAAI/bge-small-en-v1.5", description="Known name, hub name, or a local folder")
    rerank_model: str = Field("cross-encoder/ms-marco-MiniLM-L-12-v2", description="Same, or empty for none")
    model_cache: Path = Field(default_factory=default_model_cache, description="Where `memoryd models pull` puts models")
    inference_threads: int = Field(0, ge=0, le=256, description="Threads of one inference run; 0 = all cores")
    asked_file: Path | None = Field(
        None, description="Touched while questions are answered; a worker of the same machine embeds on half of its threads then"
    )
    embedding_urls: str = Field("", description="Servers that embed instead of this process, with commas between, best first")
    embedding_kind: ServerKind = Field(ServerKind.MEMORYD, description="What they speak: `memoryd`, `tei` or `openai`")
    embedding_token: SecretStr | None = Field(None, description="Their bearer token")
    embedding_served_as: str | None = Field(
        None, description="The model's name there, of `tei` and `openai`; else it is the same"
    )
    embedding_revision: str | None = Field(None, description="The revision that a server must have; unset: the one it says")
    embedding_tokenizer: Path | None = Field(None, description="`tokenizer.json` of a remote model that is not in the cache")
    embedding_query_prefix: str | None = Field(None, description="Of a remote `tei` or `openai` model; unset: the known model's")
    embedding_passage_prefix: str | None = Field(None, description="Same, of passages")
    rerank_urls: str = Field("", description="Servers that rerank; unset: those of `embedding_urls` where they are memoryd's")
    rerank_kind: ServerKind = Field(ServerKind.MEMORYD, description="What they speak: `memoryd` or `tei`")
    rerank_token: SecretStr | None = Field(
        None, description="Their bearer token; unset where the servers are the embedder's: its"
    )
    inference_timeout_s: float = Field(10.0, gt=0, le=600, description="Of a request to such a server; bulk has ten times that")
    inference_start_s: float = Field(60.0, ge=0, le=3600, description="How long a start waits for a server to say what it has")
    embedding_cache_entries: int = Field(
        1_000, ge=0, le=1_000_000, description="Questions' vectors kept in Redis for a tenant; 0: none"
    )
    embedding_cache_ttl_s: int = Field(3_600, ge=1, le=30 * 86_400, description="How long one is kept")
    rerank_default: RerankDefault = Field(RerankDefault.OFF, description="What `rerank: auto` does")
    rerank_budget_ms: float = Field(1000.0, gt=0, le=60000, description="Time for reranking; the depth adapts to it")
    rerank_depth: int = Field(20, ge=1, le=200, description="Most candidates that are reranked")

    # Inference server (`memoryd inference`)
    inference_host: str = Field("127.0.0.1", description="Address it listens on")
    inference_port: int = Field(7078, ge=0, le=65535, description="Port it listens on; 0 picks a free one")
    inference_embedders: str = Field("", description="Models that embed, with commas between; unset: `embedding_model`")
    inference_rerankers: str = Field("", description="Models that rerank, with commas between; unset: `rerank_model`")
    inference_tokens: SecretStr | None = Field(
        None, description="Bearer tokens it takes, with commas between; unset: none is needed"
    )
    inference_max_texts: int = Field(1_024, ge=1, le=100_000, description="Texts of a request; more answer 413")

    # Recall
    arm_timeout_ms: float = Field(2000.0, gt=0, le=60000, description="An arm slower than this is dropped and named")
    recall_timeout_ms: float = Field(
        5000.0,
        gt=0,
        le=60000,
        description="A recall without `deadline_ms` is given up after it (plus reranking that it or the installation wants): 503",
    )
    exact_limit: int = Field(12_000, ge=0, le=10_000_000, description="Up to so many vectors are scanned exactly")

    # Sessions
    session_ttl_s: int = Field(86_400, ge=10, le=30 * 86_400, description="How long an unused session stays in Redis")
    session_snapshot_interval_s: int = Field(60, ge=2, le=3600, description="Most that is lost when Redis loses its data")
    session_retention_days: int = Field(90, ge=31, le=3650, description="How long snapshots of ended sessions are kept")
    session_max_messages: int = Field(10_000, ge=10, le=100_000, description="Most messages of a session")
    session_max_bytes: int = Field(8 * 2**20, ge=10_000, le=64 * 2**20, description="Most bytes of a session's messages")
    session_max_message_bytes: int = Field(128 * 2**10, ge=1_000, le=200_000, description="Most bytes of one message, as JSON")
    session_max_value_bytes: int = Field(64 * 2**10, ge=1_000, le=2**20, description="Most bytes of one state value or effect")
    session_max_state_bytes: int = Field(2**20, ge=10_000, le=16 * 2**20, description="Most bytes of a session's state")
    session_checkpoints: int = Field(20, ge=2, le=200, description="Checkpoints kept of a session")
    session_streams: int = Field(
        100, ge=1, le=10_000, description="Event streams of a process, as many again of jobs; a tenant gets half at most"
    )
    chat_url: str | None = Field(None, description="OpenAI-compatible endpoint for summaries, such as `https://host/v1`")
    chat_model: str = Field("gpt-4o-mini", description="Its model")
    chat_key: SecretStr | None = Field(None, description="Its key")
    chat_timeout_s: float = Field(60.0, gt=0, le=600, description="Timeout of a request to it")

    # Knowledge bases
    fetch_urls: bool = Field(False, description="Whether jobs may fetch documents from public addresses")
    fetch_max_bytes: int = Field(64 * 2**20, ge=1024, le=2**32, description="Most bytes of a document that is fetched")
    fetch_timeout_s: float = Field(60.0, gt=0, le=3600, description="Most seconds that fetching a document may take")
    parse_memory_mb: int = Field(1024, ge=256, le=65_536, description="Address space of the process that parses a document")
    parse_timeout_s: float = Field(300.0, gt=0, le=3600, description="Most seconds that parsing a document may take")

    # Jobs
    # More than of one tenant: there is one for others, however long a tenant's documents take.
    jobs_slots: int = Field(3, ge=1, le=64, description="Jobs that one worker works on at the same time")
    jobs_per_tenant: int = Field(2, ge=1, le=64, description="Jobs of one tenant that are worked on at the same time, by all")
    jobs_at_once: int = Field(64, ge=1, le=64, description="Items of a job that are worked on side by side while they are short")
    jobs_slice_s: float = Field(20.0, gt=0, le=3600, description="A tenant's turn ends with the items under way after so long")
    jobs_lease_s: float = Field(30.0, ge=1, le=3600, description="So long after its last beat a worker counts as dead")
    jobs_stall_s: float = Field(900.0, ge=1, le=86_400, description="An item without a checkpoint for so long is tried again")
    jobs_attempts: int = Field(8, ge=1, le=100, description="How often an item is tried before it is a dead letter")
    jobs_sweep_interval_s: int = Field(5, ge=1, le=3600, description="Pause between looks for jobs that nobody works on")
    jobs_retention_days: int = Field(90, ge=1, le=3650, description="How long jobs that ended are kept")

    # Maintenance (worker)
    ann_tail: int = Field(2_000, ge=1, description="Unindexed vectors of a large tenant before the worker indexes them")
    idempotency_ttl_s: int = Field(86_400, ge=60, description="How long an Idempotency-Key is remembered")
    maintenance_interval_s: int = Field(15, ge=1, le=3600, description="Pause between the worker's rounds")
