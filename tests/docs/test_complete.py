"""The documentation names every setting, error code, route and command."""

import importlib
import re
from pathlib import Path

import pytest
from fastapi import FastAPI

import memoryd
from memoryd.cli.main import cli
from memoryd.settings import Settings
from retrieval.errors import MemorydError

ROOT = Path(memoryd.__file__).parents[1]
DOCS = ROOT / "docs"

# Problems that are not an exception of ours.
HTTP_CODES = {"malformed_body", "method_not_allowed", "not_ready", "unavailable"}


def _errors() -> set[str]:
    for module in ("memoryd.errors", "memoryd.stores.migrate", "memoryd.embedded.errors"):
        importlib.import_module(module)

    def below(kind: type[MemorydError]) -> set[type[MemorydError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    return {kind.code for kind in below(MemorydError)}


def test_every_setting_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text()
    documented = set(re.findall(r"^\| `(MEMORYD_[A-Z_]+)`", text, re.MULTILINE))
    assert documented == {f"MEMORYD_{name.upper()}" for name in Settings.model_fields}


def test_documented_defaults_are_the_defaults() -> None:
    rows = re.findall(r"^\| `MEMORYD_([A-Z_]+)` \| `([^`]*)`", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    settings = Settings.model_construct()
    for name, default in rows:
        assert default == str(getattr(settings, name.lower())), name


def test_every_error_code_is_documented() -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", (DOCS / "errors.md").read_text(), re.MULTILINE))
    assert documented == _errors() | HTTP_CODES


def test_every_route_is_documented(app: FastAPI) -> None:
    text = (DOCS / "api.md").read_text()
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in text, f"{method.upper()} {path}"


def test_every_command_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    for name, command in cli.commands.items():
        names = [f"{name} {inner}" for inner in command.commands] if hasattr(command, "commands") else [name]
        for one in names:
            assert f"`memoryd {one}" in text, one


@pytest.mark.parametrize("page", sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "migrations" / "README.md"]), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
