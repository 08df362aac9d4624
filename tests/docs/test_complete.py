"""The documentation names every setting, error code, route and command."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import ingestion
import memoryd
import retrieval
from memoryd.cli.main import cli
from memoryd.http.problems import error_response
from memoryd.settings import Settings
from retrieval.errors import MemorydError
from tests.http.document import operations

ROOT = Path(memoryd.__file__).parents[1]
DOCS = ROOT / "docs"

# Problems that are not an exception of ours, with their status.
FRAMEWORK = {
    "malformed_body": 400,
    "method_not_allowed": 405,
    "unsupported_media_type": 415,
    "not_ready": 503,
    "unavailable": 503,
}


def _errors() -> dict[str, int]:
    """Every code that the rings can raise, with its status over HTTP."""
    for ring in (memoryd, ingestion, retrieval):
        for module in pkgutil.walk_packages(ring.__path__, ring.__name__ + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    def below(kind: type[MemorydError]) -> set[type[MemorydError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    kinds = {kind for kind in below(MemorydError) if not kind.__module__.startswith("tests.")}
    return {kind.code: error_response("", kind.__new__(kind)).status_code for kind in kinds}


def test_every_setting_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text()
    documented = set(re.findall(r"^\| `(MEMORYD_[A-Z_]+)`", text, re.MULTILINE))
    assert documented == {f"MEMORYD_{name.upper()}" for name in Settings.model_fields}


def test_documented_defaults_are_the_defaults() -> None:
    rows = re.findall(r"^\| `MEMORYD_([A-Z_]+)` \| `([^`]*)`", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    settings = Settings.model_construct()
    for name, default in rows:
        assert default == str(getattr(settings, name.lower())), name


def test_every_error_code_is_documented_with_its_status() -> None:
    http, _, command_line = (DOCS / "errors.md").read_text().partition("\n## On the command line\n")
    answered = {code: int(status) for code, status in re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", http, re.MULTILINE)}
    printed = dict.fromkeys(re.findall(r"^\| `([a-z_]+)` \|", command_line, re.MULTILINE), 500)
    assert answered | printed == _errors() | FRAMEWORK
    assert not answered.keys() & printed.keys()


def test_every_route_is_documented() -> None:
    documented = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(operations())


def test_every_command_is_documented() -> None:
    rows = re.findall(r"^\| `memoryd ([a-z]+(?: [a-z]+)*)", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(" ".join(names) for names, _ in _leaves(cli))


def test_commands_that_ask_a_service_print_json_unless_the_guide_says_otherwise() -> None:
    told = re.search(r"no `--json`; their exit status says what came of\s+it: ([^.]+)\.", (DOCS / "cli.md").read_text())
    assert told is not None
    asking = {name for entries in cli.sections.values() for name, entry in entries.items() if entry.extra == "cli"} - {
        "completion"
    }
    without = {
        " ".join(names)
        for names, command in _leaves(cli)
        if names[0] in asking and not any("--json" in one.opts for one in command.params)
    }
    assert set(re.findall("`([^`]+)`", told[1])) == without


def _leaves(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, *above, name)
        else:
            yield (*above, name), command


@pytest.mark.parametrize(
    "page",
    sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "migrations" / "README.md"]),
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
