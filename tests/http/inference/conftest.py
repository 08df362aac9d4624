"""One inference server with the default models for the whole session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from memoryd.http.inference.app import create_inference_app
from memoryd.served_models import Served, open_served
from memoryd.settings import Settings
from tests.http.inference.serving import served
from tests.support_models import ready_model_store

TOKENS = ("first-token", "second-token")
MAX_TEXTS = 64
MAX_BODY = 200_000


@pytest.fixture(scope="session")
async def models() -> AsyncIterator[Served]:
    ready_model_store()
    async with open_served(Settings()) as opened:
        yield opened


@pytest.fixture(scope="session")
async def url(models: Served) -> AsyncIterator[str]:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Served]:
        yield models

    app = create_inference_app(opening, tokens=TOKENS, max_body_bytes=MAX_BODY, max_texts=MAX_TEXTS)
    async with served(app) as address:
        yield address


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {TOKENS[0]}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        yield client
