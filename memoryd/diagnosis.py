"""What ``memoryd doctor`` looks at."""

import asyncio
from dataclasses import dataclass

from pydantic import SecretStr

from memoryd.database_wiring import database
from memoryd.errors import ServiceError
from memoryd.jobs.courier import ALIVE
from memoryd.models import embedder_card
from memoryd.remote_models import embedding_servers, open_remote_reranker, rerank_servers
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generations import known_models, live_generation
from memoryd.stores.health import schema_health
from memoryd.stores.redis import Redis
from retrieval.errors import MemorydError
from retrieval.inference import ModelStore
from retrieval.ports import ModelCard

_NO_WORKER = "none within the last minute: nothing is ingested, committed or expired until `memoryd worker` runs"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``fix`` says what to do when it is not well."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


async def diagnose(settings: Settings) -> list[Finding]:
    """Look at everything, whatever is missing; takes a few seconds at most."""
    card, finding = _embedder(settings)
    findings = [finding]
    if settings.rerank_model:
        findings.append(await _reranker(settings))
    if settings.database_url is None:
        findings.append(Finding("postgresql", False, "MEMORYD_DATABASE_URL is not set", "set it, or run `memoryd up`"))
    else:
        store = database(settings)
        await store.open()
        try:
            findings += await _database(store, card)
        finally:
            await store.close()
    findings += await _redis(settings)
    if settings.handle_secret is None:
        findings.append(
            Finding("handles", False, "MEMORYD_HANDLE_SECRET is not set", "set 16 characters or more, the same everywhere")
        )
    return findings


def _embedder(settings: Settings) -> tuple[ModelCard | None, Finding]:
    try:
        card = embedder_card(settings)
    except MemorydError as error:
        servers = "check MEMORYD_EMBEDDING_URLS, and that the server runs and has this model"
        return None, Finding("models", False, str(error), servers if embedding_servers(settings) else "run `memoryd models pull`")
    return card, Finding("models", True, f"{card.name}, {card.dimension} dimensions, up to {card.max_tokens} tokens")


async def _reranker(settings: Settings) -> Finding:
    servers = rerank_servers(settings)
    try:
        if servers:
            async with open_remote_reranker(settings) as reranker:
                await reranker.score("ready", ["ready"])
        else:
            await asyncio.to_thread(ModelStore(settings.model_cache).locate, settings.rerank_model)
    except MemorydError as error:
        fix = "check MEMORYD_RERANK_URLS, and that the server runs and has this model; recalls go on without it"
        here = "run `memoryd models pull`, or set MEMORYD_RERANK_MODEL to nothing"
        return Finding("reranker", False, str(error), fix if servers else here)
    return Finding("reranker", True, settings.rerank_model)


async def _database(store: Database, card: ModelCard | None) -> list[Finding]:
    fix = "check MEMORYD_DATABASE_URL, that the server runs, and that `memoryd migrate` was run"
    try:
        found = [Finding("postgresql", True, f"version {await store.ping()}")]
    except ServiceError as error:
        return [Finding("postgresql", False, str(error), fix)]
    try:
        for name, ok, detail in await schema_health(store):
            found.append(Finding(name, ok, detail, "" if ok else "run `memoryd migrate`; see migrations/README.md for the roles"))
        found.append(await _generation(store, card))
    except ServiceError as error:
        return [*found, Finding("schema", False, str(error), "run `memoryd migrate`")]
    return found


async def _generation(store: Database, card: ModelCard | None) -> Finding:
    live = await live_generation(store)
    if live is None:
        return Finding("generation", False, "no embedding generation", "run `memoryd migrate`")
    detail = f"{live.number}: {live.model}, {live.dimension} dimensions"
    # As API and worker look before they start.
    if card is None or (card.name, card.revision) in await known_models(store):
        return Finding("generation", True, detail)
    return Finding(
        "generation",
        False,
        f"{detail}; there is none of the configured model, {card.name} ({card.revision})",
        "set MEMORYD_EMBEDDING_MODEL back, and change the model with `memoryd generations create`",
    )


async def _redis(settings: Settings) -> list[Finding]:
    if settings.redis_url is None:
        return [Finding("redis", False, "MEMORYD_REDIS_URL is not set", "set it; the worker needs it")]
    client = Redis(settings.redis_url.get_secret_value(), timeout_s=settings.redis_timeout_s)
    try:
        found = [Finding("redis", True, await client.ping())]
        if policy := await client.eviction():
            detail = f"{policy}: when its memory is full, Redis drops parts of sessions"
            found.append(Finding("eviction", False, detail, "set its maxmemory-policy to noeviction"))
    except ServiceError as error:
        return [Finding("redis", False, str(error), "check MEMORYD_REDIS_URL and that the server runs")]
    finally:
        await client.close()
    return [*found, await _worker(settings.jobs_redis_url or settings.redis_url, settings.redis_timeout_s)]


async def _worker(url: SecretStr, timeout_s: float) -> Finding:
    """Not missing where there is none: this is looked at before anything is started, too."""
    queue = Redis(url.get_secret_value(), timeout_s=timeout_s)
    try:
        there = await queue.command("EXISTS", ALIVE)
    except ServiceError as error:
        return Finding("queue", False, str(error), "check MEMORYD_JOBS_REDIS_URL and that the server runs")
    finally:
        await queue.close()
    return Finding("worker", True, "there is one" if there else _NO_WORKER)
