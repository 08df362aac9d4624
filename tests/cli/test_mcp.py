"""Which service ``memoryd mcp`` asks, with which key: the one that every command asks."""

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import memoryd.cli.mcp as command
from memoryd.cli.main import cli
from memoryd.embedded import process
from memoryd.embedded.state import StackState, write
from memoryd.mcp.installation import Address, Where

ELSEWHERE = "http://elsewhere:7077"
HERE = "http://127.0.0.1:7070"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory on which memoryd runs: this process, for all that anybody can see."""
    folder = tmp_path / "data"
    (folder / "run").mkdir(parents=True)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "first_tenant_key").write_text("mdk_first\n")
    write(folder / "run" / "state.json", StackState(os.getpid(), process.identity(os.getpid()), "running", HERE))
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The addresses that were found instead of served."""
    found: list[Address] = []

    async def serve(where: Where) -> None:
        async with asyncio.timeout(10):
            found.append(await where.find(None))
        await where.close()

    monkeypatch.setattr(command, "serve", serve)
    return found


def run(tmp_path: Path, *arguments: str | Path, **environment: str) -> Result:
    names = ("MEMORYD_URL", "MEMORYD_KEY", "MEMORYD_API_KEY", "MEMORYD_PROFILE")
    env: dict[str, str | None] = {**dict.fromkeys(names), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    return CliRunner().invoke(cli, ["mcp", *map(str, arguments)], env=env | environment, catch_exceptions=False)


def profiles(tmp_path: Path) -> None:
    file = tmp_path / "memoryd" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(0o600)
    file.write_text(f'default = "work"\n[profiles.work]\nurl = "{ELSEWHERE}/mcp"\nkey = "mdk_work"\n')


def test_memoryd_on_this_machine_is_asked_with_the_key_that_was_given(
    tmp_path: Path, data: Path, asked: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, "--data-dir", data, MEMORYD_KEY="mdk_weak").exit_code == 0
    assert run(tmp_path, "--data-dir", data, "--key", "mdk_said", MEMORYD_API_KEY="mdk_weak").exit_code == 0
    assert run(tmp_path, "--data-dir", data).exit_code == 0
    monkeypatch.setattr("memoryd.embedded.datadir.default_path", lambda: data)
    assert run(tmp_path, MEMORYD_API_KEY="mdk_weak").exit_code == 0
    assert [one.key for one in asked] == ["mdk_weak", "mdk_said", "mdk_first", "mdk_weak"]
    assert {one.url for one in asked} == {HERE}


def test_a_data_directory_outranks_the_environments_url_whose_key_it_is_not_told(
    tmp_path: Path, data: Path, asked: list[Address]
) -> None:
    said = run(tmp_path, "--data-dir", data, MEMORYD_URL=ELSEWHERE, MEMORYD_KEY="mdk_elsewhere")
    assert (said.exit_code, said.output) == (0, "")
    assert asked == [Address(HERE, "mdk_first")]


def test_a_server_is_named_by_option_environment_or_profile(tmp_path: Path, asked: list[Address]) -> None:
    profiles(tmp_path)
    assert run(tmp_path, "--url", f"{HERE}/mcp", MEMORYD_KEY="mdk_said").exit_code == 0
    assert run(tmp_path, MEMORYD_URL=f"{HERE}/", MEMORYD_KEY="mdk_env").exit_code == 0
    assert run(tmp_path).exit_code == 0
    assert asked == [Address(HERE, "mdk_said"), Address(HERE, "mdk_env"), Address(ELSEWHERE, "mdk_work")]


def test_a_server_without_a_key_is_not_asked(tmp_path: Path, asked: list[Address]) -> None:
    said = run(tmp_path, "--url", HERE)
    assert said.exit_code == 2
    assert "MEMORYD_KEY" in said.stderr
    assert asked == []
