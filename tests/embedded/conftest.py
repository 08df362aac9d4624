"""The embedded stack against the real binaries."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that an unprivileged user may enter, which pytest's own is not when root runs the tests."""
    yield from open_folder()


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """The same, for one installation that the tests of a module start and stop in turn."""
    yield from open_folder()


def open_folder() -> Iterator[Path]:
    """An empty one, removed at the end."""
    # In memory where there is plenty: a database is a thousand small files to create, sync and remove.
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own in it
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="mdt-", dir=memory if roomy else None))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_root() -> None:
    """Skips what only root can try."""
    if os.geteuid() != 0:
        pytest.skip("needs root: there is no other user to drop to")
