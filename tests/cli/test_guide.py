"""The command lines of the guides are ones that the commands take."""

import re
import shlex
from pathlib import Path

import click
import pytest

import memoryd
from memoryd.cli.main import cli

ROOT = Path(memoryd.__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINES = [
    command.partition("#")[0].partition(" | ")[0].strip()
    for guide in GUIDES
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", guide.read_text(), re.MULTILINE | re.DOTALL)
    if language != "text"
    for line in block.splitlines()
    for command in line.split("&&")
    if re.match(r"\s*([\d*]+ .*|[A-Z_]+=[^(]*|\S*/)?memoryd [a-z]", command)
]


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_guide(line: str) -> None:
    words = shlex.split(line)
    words = words[next(number for number, word in enumerate(words) if word.rpartition("/")[2] == "memoryd") + 1 :]
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
    assert len(LINES) >= 18
