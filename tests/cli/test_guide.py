"""The guide's command lines are ones that the commands take."""

import re
import shlex
from pathlib import Path

import click
import pytest

import memoryd
from memoryd.cli.main import cli

GUIDE = Path(memoryd.__file__).parents[1] / "docs" / "ingest.md"
LINES = [
    line.partition("#")[0].strip()
    for _, block in re.findall(r"^```(\w*)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if re.search(r"(^|\s)memoryd (ingest|kb|jobs) ", line)
]


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_guide(line: str) -> None:
    words = shlex.split(line)
    words = words[words.index("memoryd") + 1 :]
    command: click.Command = cli
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    context = click.Context(command, info_name=command.name)
    given, left, _ = command.make_parser(context).parse_args(words)
    assert left == []
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.required:
            assert given.get(str(parameter.name)), parameter.name


def test_there_are_such_lines() -> None:
    assert len(LINES) >= 8
