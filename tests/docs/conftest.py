"""One server for the examples and the code of the pages: the application of the REST tests, on a port."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI

from memoryd.settings import Settings
from tests.http.conftest import Tenant, anonymous, app, operator, other, tenant
from tests.mcp.conftest import served

__all__ = ["anonymous", "app", "operator", "other", "tenant"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """How a program ended, and what it printed."""

    status: int
    output: str
    errors: str

    @property
    def all(self) -> str:
        """Both, for a message."""
        return f"{self.output[-3000:]}\n{self.errors[-3000:]}"


@pytest.fixture(scope="session")
async def url(app: FastAPI) -> AsyncIterator[str]:
    async with served(app) as address:
        yield address


@pytest.fixture
def environment(url: str, tenant: Tenant, settings: Settings, tmp_path: Path) -> dict[str, str]:
    """What a reader has exported, an operator too, with a tenant of its own. A refused request fails curl."""
    (tmp_path / ".curlrc").write_text("fail-with-body\nshow-error\n")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known = {"URL": url, "KEY": tenant.key, "MEMORYD_URL": url, "MEMORYD_API_KEY": tenant.key}
    for name in ("database_url", "redis_url", "operator_key", "handle_secret"):
        known[f"MEMORYD_{name.upper()}"] = getattr(settings, name).get_secret_value()
    return known | {"PATH": programs, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "CURL_HOME": str(tmp_path)}


async def ran(environment: Mapping[str, str], *argv: str, folder: Path = ROOT) -> Ran:
    """A program beside the server, which runs in this process."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=folder, env=dict(environment), stdout=pipe, stderr=pipe)
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, output.decode(), errors.decode())
