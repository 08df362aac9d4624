"""Saying something in a session, and hearing what was said."""

from collections.abc import Mapping

import httpx

from memoryd.settings import Settings
from memoryd.stores.redis import Redis
from tests.http.conftest import Tenant

User = Mapping[str, object]


def user(text: str, **fields: object) -> User:
    return {"role": "user", "content": text, **fields}


async def append(tenant: Tenant, session: str, *messages: User, status: int = 201, **fields: object) -> httpx.Response:
    answer = await tenant.http.post(f"/v1/sessions/{session}/messages", json={"messages": list(messages), **fields})
    assert answer.status_code == status, answer.text
    return answer


async def texts(tenant: Tenant, session: str) -> list[str]:
    answer = await tenant.http.get(f"/v1/sessions/{session}/messages", params={"limit": 500})
    assert answer.status_code == 200, answer.text
    return [one["content"] for one in answer.json()["messages"]]


async def lose_redis(settings: Settings) -> None:
    """All of its data."""
    assert settings.redis_url is not None
    redis = Redis(settings.redis_url.get_secret_value(), timeout_s=5)
    await redis.command("FLUSHALL")
    await redis.close()
