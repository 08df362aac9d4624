"""A command group that imports a command when it is run: to list, complete or refuse a name it imports none."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

# A module of ours that is missing is a defect, not a missing extra.
_OURS = frozenset({"memoryd", "retrieval", "ingestion"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not imported yet. ``home``: ``package.module:attribute``; ``help``: its line in a list, the first of its
    own help; ``extra``: what of ``pip install 'memoryd[…]'`` it needs."""

    home: str
    help: str
    extra: str = "cli"


Sections = Mapping[str, Mapping[str, Entry]]
"""Headings of the list of commands, and the commands below each."""


class LazyGroup(click.Group):
    """A group whose commands are in ``sections``, listed in this order."""

    def __init__(self, name: str | None = None, *, sections: Sections, **attributes: Any) -> None:
        self.sections = sections
        self._entries = {name: entry for entries in sections.values() for name, entry in entries.items()}
        super().__init__(name, LazyCommands(self._entries), **attributes)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, by section."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list."""
        widest = max(map(len, self._entries))
        for heading, entries in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), entry.help) for name, entry in entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names that begin so; behind a dash, options."""
        found = [CompletionItem(name, help=entry.help) for name, entry in self._entries.items() if name.startswith(incomplete)]
        # Not the group's own, which imports what it names.
        return found + click.Command.shell_complete(self, ctx, incomplete)


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name; one is imported when it is got."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._commands: dict[str, Entry | click.Command] = dict(entries)

    def __getitem__(self, name: str) -> click.Command:
        """Raises ``KeyError``; ``click.ClickException`` when it needs a library that is not installed."""
        found = self._commands[name]
        if isinstance(found, Entry):
            found = self._commands[name] = _imported(name, found)
        return found

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __contains__(self, name: object) -> bool:
        return name in self._commands

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


def _imported(name: str, entry: Entry) -> click.Command:
    module, _, attribute = entry.home.partition(":")
    try:
        command = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        raise click.ClickException(
            f"{error.name} is not installed; `memoryd {name}` needs: pip install 'memoryd[{entry.extra}]'"
        ) from error
    if not isinstance(command, click.Command):
        raise TypeError(f"{entry.home} is no command")
    return command
