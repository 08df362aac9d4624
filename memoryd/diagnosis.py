"""What ``memoryd doctor`` looks at."""

from dataclasses import dataclass

from memoryd.database_wiring import database
from memoryd.errors import ServiceError
from memoryd.models import embedder_card
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generations import live_generation
from memoryd.stores.health import schema_health
from memoryd.stores.redis import Redis
from retrieval.errors import InferenceError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``fix`` says what to do when it is not well."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


async def diagnose(settings: Settings) -> list[Finding]:
    """Look at everything, whatever is missing; takes a few seconds at most."""
    findings = [_models(settings)]
    if settings.database_url is None:
        findings.append(Finding("postgresql", False, "MEMORYD_DATABASE_URL is not set", "set it, or run `memoryd up`"))
    else:
        store = database(settings)
        await store.open()
        try:
            findings += await _database(store, settings)
        finally:
            await store.close()
    findings.append(await _redis(settings))
    if settings.handle_secret is None:
        findings.append(
            Finding("handles", False, "MEMORYD_HANDLE_SECRET is not set", "set 16 characters or more, the same everywhere")
        )
    return findings


def _models(settings: Settings) -> Finding:
    try:
        card = embedder_card(settings)
    except InferenceError as error:
        return Finding("models", False, str(error), "run `memoryd models pull`")
    return Finding("models", True, f"{card.name}, {card.dimension} dimensions, up to {card.max_tokens} tokens")


async def _database(store: Database, settings: Settings) -> list[Finding]:
    fix = "check MEMORYD_DATABASE_URL, that the server runs, and that `memoryd migrate` was run"
    try:
        found = [Finding("postgresql", True, f"version {await store.ping()}")]
    except ServiceError as error:
        return [Finding("postgresql", False, str(error), fix)]
    try:
        for name, ok, detail in await schema_health(store):
            found.append(Finding(name, ok, detail, "" if ok else "run `memoryd migrate`; see migrations/README.md for the roles"))
        generation = await live_generation(store)
    except ServiceError as error:
        return [*found, Finding("schema", False, str(error), "run `memoryd migrate`")]
    if generation is None:
        found.append(Finding("generation", False, "no embedding generation", "run `memoryd migrate`"))
    else:
        detail = f"{generation.number}: {generation.model}, {generation.dimension} dimensions"
        found.append(Finding("generation", True, detail))
    return found


async def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return Finding("redis", False, "MEMORYD_REDIS_URL is not set", "set it; the worker needs it")
    client = Redis(settings.redis_url.get_secret_value(), timeout_s=settings.redis_timeout_s)
    try:
        return Finding("redis", True, await client.ping())
    except ServiceError as error:
        return Finding("redis", False, str(error), "check MEMORYD_REDIS_URL and that the server runs")
    finally:
        await client.close()
