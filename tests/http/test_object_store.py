"""Sessions through the whole application with their snapshots on a server that speaks S3."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from memoryd.http.app import create_app
from memoryd.settings import Settings
from memoryd.stores.redis import Redis
from memoryd.wiring import open_services
from tests.http.conftest import Tenant, client, new_tenant
from tests.s3 import Bucket
from tests.stack import OPERATOR_KEY


@pytest.fixture
async def stored(settings: Settings, bucket: Bucket) -> AsyncIterator[FastAPI]:
    """The application, configured as an operator would."""
    own = settings.model_copy(update={"object_store": f"{bucket.url}/installation"})
    app = create_app(lambda: open_services(own), max_body_bytes=own.max_body_bytes, request_timeout_s=own.request_timeout_s)
    async with app.router.lifespan_context(app):
        yield app


async def test_a_session_comes_back_from_s3_and_goes_with_its_tenant(settings: Settings, stored: FastAPI, bucket: Bucket) -> None:
    async with client(stored, OPERATOR_KEY) as operator:
        tenant, other = await new_tenant(stored, operator, "a"), await new_tenant(stored, operator, "b")
        async with tenant.http, other.http:
            for one in (tenant, other):
                await _say(one, "book a table", "for two")
            taken = (await tenant.http.post("/v1/sessions/trip/snapshots")).raise_for_status().json()
            (await other.http.post("/v1/sessions/trip/snapshots")).raise_for_status()
            assert sorted(key.split("/")[:2] for key in bucket.names()) == sorted(
                ["installation", str(one.tenant_id)] for one in (tenant, other)
            )
            before = await _messages(tenant)
            await _say(tenant, "never copied")
            await _lose(settings, tenant)
            assert await _messages(tenant) == before
            session = (await tenant.http.get("/v1/sessions/trip")).raise_for_status().json()
            assert session["restored_from"]["snapshot_id"] == taken["id"]
            await _say(tenant, "at eight")
            assert [text for _, text in await _messages(tenant)] == ["book a table", "for two", "at eight"]
            (await tenant.http.post("/v1/sessions/trip/snapshots")).raise_for_status()
            await _say(tenant, "another trip", session="other-trip")
            (await tenant.http.post("/v1/sessions/other-trip/snapshots")).raise_for_status()
            (await tenant.http.delete("/v1/sessions/trip")).raise_for_status()
            assert _count(bucket, tenant) == 1
            gone = await operator.delete(f"/v1/admin/tenants/{tenant.tenant_id}", params={"confirm": tenant.name})
            assert gone.status_code == 204
        assert (_count(bucket, tenant), _count(bucket, other)) == (0, 1)


async def test_a_bucket_that_went_is_an_outage_and_no_damage(settings: Settings, stored: FastAPI, bucket: Bucket) -> None:
    async with client(stored, OPERATOR_KEY) as operator:
        tenant = await new_tenant(stored, operator, "c")
        async with tenant.http:
            await _say(tenant, "book a table")
            (await tenant.http.post("/v1/sessions/trip/snapshots")).raise_for_status()
            bucket.remove()
            await _lose(settings, tenant)
            for answer in (
                await tenant.http.get("/v1/sessions/trip/messages"),
                await tenant.http.delete("/v1/sessions/trip"),
                await operator.delete(f"/v1/admin/tenants/{tenant.tenant_id}", params={"confirm": tenant.name}),
            ):
                assert answer.status_code == 503, answer.text
                assert answer.headers["retry-after"]


async def _say(tenant: Tenant, *texts: str, session: str = "trip") -> None:
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    assert (await tenant.http.post(f"/v1/sessions/{session}/messages", json=body)).status_code == 201


async def _messages(tenant: Tenant) -> list[tuple[int, str]]:
    page = (await tenant.http.get("/v1/sessions/trip/messages")).raise_for_status().json()
    return [(one["position"], one["content"]) for one in page["messages"]]


def _count(bucket: Bucket, tenant: Tenant) -> int:
    return sum(str(tenant.tenant_id) in key for key in bucket.names())


async def _lose(settings: Settings, tenant: Tenant) -> None:
    """Redis has nothing of the tenant any more."""
    assert settings.redis_url is not None
    redis = Redis(settings.redis_url.get_secret_value(), timeout_s=5)
    try:
        keys = await redis.command("KEYS", f"t:{{{tenant.tenant_id}}}:*")
        assert isinstance(keys, list)
        assert await redis.command("DEL", *[key for key in keys if isinstance(key, bytes)]) == len(keys) > 0
    finally:
        await redis.close()
