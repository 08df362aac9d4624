"""A command imports what it needs, and a list of commands imports none of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from memoryd.cli.lazy import Entry, LazyGroup
from memoryd.cli.main import cli

SERVER = {"arq", "fastapi", "lxml", "mcp", "numpy", "obstore", "onnxruntime", "psycopg"}
SERVER |= {"pydantic_settings", "redis", "starlette", "tokenizers", "uvicorn"}
CLIENT = {"httpx", "pydantic", "rich"}

SCRIPT = """
import json, sys
from contextlib import suppress
{work}
print(json.dumps(sorted(set(sys.modules) & set({watched!r}))), file=sys.stderr)
"""


def imported(work: str, *arguments: str) -> set[str]:
    """Which of the libraries a fresh interpreter has imported after ``work``."""
    script = SCRIPT.format(work=work, watched=sorted(SERVER | CLIENT))
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=os.environ, capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(ran.stderr.splitlines()[-1]))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_list_of_commands_imports_none(option: str) -> None:
    assert imported("from memoryd.cli import main\nwith suppress(SystemExit):\n    main()", option) == set()


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("up", SERVER - {"pydantic_settings"} | {"httpx", "rich"}),
        ("preparing", SERVER - {"numpy", "psycopg", "pydantic_settings", "tokenizers"}),
        ("worker", {"fastapi", "mcp", "starlette", "uvicorn"}),
        ("status", SERVER | CLIENT),
        ("kb", SERVER),
    ],
)
def test_a_command_spares_what_others_need(module: str, spared: set[str]) -> None:
    assert not imported(f"import memoryd.cli.{module}") & spared


@pytest.mark.parametrize("name", list(cli.commands))
def test_what_the_list_says_of_a_command_is_what_the_command_says(name: str) -> None:
    entry = next(entries[name] for entries in cli.sections.values() if name in entries)
    assert (cli.commands[name].help or "").startswith(entry.help)
    assert cli.commands[name].name == name


def test_what_asks_a_service_needs_nothing_of_the_server() -> None:
    """The extra ``cli`` brings click and rich."""
    entries = [entry for entries in cli.sections.values() for entry in entries.values() if entry.extra == "cli"]
    modules = sorted({entry.home.partition(":")[0] for entry in entries})
    assert "memoryd.cli.recall" in modules
    assert imported(f"import {', '.join(modules)}") == CLIENT


def _all(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _all(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


@pytest.mark.parametrize(("name", "command"), list(_all(cli)), ids=lambda given: given if isinstance(given, str) else "")
def test_a_command_says_what_it_takes(name: str, command: click.Command) -> None:
    names = [one.name for one in command.params if not (isinstance(one, click.Option) and one.is_flag)]
    assert len(set(names)) == len(names)
    assert command.help, name


def test_names_are_completed_without_importing() -> None:
    group = LazyGroup("memoryd", sections={"Some": {"recall": Entry("nowhere:recall", "Search.")}})
    found = ShellComplete(group, {}, "memoryd", "_MEMORYD_COMPLETE").get_completions([], "re")
    assert [(one.value, one.help) for one in found] == [("recall", "Search.")]


def test_a_library_that_is_not_installed() -> None:
    sections = {"Some": {"serve": Entry("no_such_library.here:serve", "Serve.", "server")}}
    ran = CliRunner().invoke(LazyGroup("memoryd", sections=sections), ["serve"])
    assert ran.exit_code == 1
    assert ran.stderr == "Error: no_such_library is not installed; `memoryd serve` needs: pip install 'memoryd[server]'\n"


def test_without_any_extra_it_says_which_to_install() -> None:
    script = "import sys; sys.modules['click'] = None; from memoryd.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith("memoryd: click is not installed; commands that ask a service need: pip install 'memoryd[cli]'")


def test_a_module_of_ours_that_is_missing_is_a_defect() -> None:
    group = LazyGroup("memoryd", sections={"Some": {"serve": Entry("memoryd.cli.no_such_module:serve", "Serve.")}})
    with pytest.raises(ModuleNotFoundError):
        group.get_command(click.Context(group), "serve")
