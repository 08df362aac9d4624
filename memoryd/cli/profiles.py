"""The configuration file: named services with their keys.

::

    default = "work"

    [profiles.work]
    url = "https://memory.example.com"
    key = "mdk_…"
    operator_key = "…"      # for `memoryd tenants`; optional, as the key is
"""

import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Profile:
    """A service, and who asks it."""

    name: str
    url: str
    key: str | None = field(repr=False)
    operator_key: str | None = field(repr=False)


class _Named(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    key: str | None = None
    operator_key: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    default: str | None = None
    profiles: dict[str, _Named] = Field(default_factory=dict)


def path() -> Path:
    """``$XDG_CONFIG_HOME/memoryd/config.toml``, or ``~/.config/memoryd/config.toml``."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "memoryd" / "config.toml"


def profile(name: str | None) -> Profile | None:
    """The one of that name, or the default; ``None`` where no default is said.

    Warns on standard error when others may read the file and it has a key. Raises ``click.UsageError``.
    """
    where = path()
    file = _read(where)
    if file is None:
        if name is None:
            return None
        raise click.UsageError(f"there is no profile {name}: {where} does not exist; see docs/cli.md")
    wanted = name or file.default
    if wanted is None:
        return None
    if wanted not in file.profiles:
        known = ", ".join(sorted(file.profiles)) or "none"
        raise click.UsageError(f"there is no profile {wanted} in {where}; there is: {known}")
    found = file.profiles[wanted]
    return Profile(wanted, found.url, found.key, found.operator_key)


def _read(where: Path) -> _File | None:
    try:
        with where.open("rb") as file:
            open_to_others = os.fstat(file.fileno()).st_mode & _OTHERS
            found = _File.model_validate(tomllib.load(file))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"{where} cannot be read: {error}") from error
    except ValidationError as error:
        # Not the error's own words: they repeat the value, which may be a key.
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False))
        raise click.UsageError(f"{where}: {wrong}") from error
    if open_to_others and any(one.key or one.operator_key for one in found.profiles.values()):
        click.echo(f"memoryd: warning: others can read the keys in {where}: chmod 600 {where}", err=True)
    return found
