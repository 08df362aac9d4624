"""Pulling from a hub, against a small HTTP server that answers as the hub's API does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from retrieval.errors import ModelNotFound
from retrieval.inference import ModelStore
from retrieval.inference.hub import Hub, HubUnreachable, RemoteFile, exact_files, usable_files
from retrieval.inference.registry import BGE_SMALL

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """Repositories by name; ``asked`` are the paths that were requested."""

    url: str
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    wrong_sha: bool = False
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        state: ClassVar[FakeHub]

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Keep the test's output quiet."""

        def log_error(self, *args: object) -> None:
            """Keep the test's output quiet."""

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.split("?")[0]
            self.state.asked.append(path)
            if path.startswith("/api/models/"):
                repo = path.removeprefix("/api/models/").split("/revision/")[0]
                found = self.state.repos.get(repo)
                body = None if found is None else json.dumps(self._info(repo, found)).encode()
            else:
                repo, _, name = path[1:].partition(f"/resolve/{COMMIT}/")
                body = self.state.repos.get(repo, {}).get(name)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("ETag", '"' + hashlib.sha256(body or b"").hexdigest() + '"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body and self.command == "GET":
                self.wfile.write(body)

        def _info(self, repo: str, files: dict[str, bytes]) -> dict[str, object]:
            siblings: list[dict[str, object]] = []
            for name, body in files.items():
                sha256 = "0" * 64 if self.state.wrong_sha else hashlib.sha256(body).hexdigest()
                lfs = {"sha256": sha256, "size": len(body), "pointerSize": 1}
                large = name.endswith((".onnx", ".safetensors"))
                siblings.append({"rfilename": name, "size": len(body)} | ({"lfs": lfs} if large else {}))
            return {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.state = FakeHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Handler.state
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_known_model_comes_from_a_hub_that_has_the_pinned_bytes(hub: FakeHub, model_store: ModelStore, tmp_path: Path) -> None:
    original = model_store.locate(BGE_SMALL.name)
    files = {name: (original.folder / name).read_bytes() for name in BGE_SMALL.files}
    files["onnx/model_int8.onnx"] = files.pop("model.onnx")
    hub.repos[BGE_SMALL.hub_repo] = files | {"pytorch_model.bin": b"a pickle", "model.onnx": b"other weights"}
    said: list[str] = []
    pulled = ModelStore(tmp_path, hub=Hub(hub.url)).pull(BGE_SMALL.name, progress=said.append)
    assert pulled.revision == original.revision
    assert pulled.weights.read_bytes() == original.weights.read_bytes()
    assert not any(path.endswith((".bin", "/model.onnx")) for path in hub.asked)
    assert any("model_int8" in line for line in said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["BAAI--bge-small-en-v1.5"]


def test_an_unknown_model_brings_weights_and_configuration_but_no_code(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["someone/model"] = {
        "model.safetensors": b"tensors",
        "tokenizer.json": b"{}",
        "config.json": b"{}",
        "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}',
        "modeling_custom.py": b"raise SystemExit",
        "pytorch_model.bin": b"a pickle",
    }
    store = ModelStore(tmp_path, hub=Hub(hub.url))
    pulled = store.pull("someone/model")
    names = {path.relative_to(pulled.folder).as_posix() for path in pulled.folder.rglob("*") if path.is_file()}
    assert names == {"model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json", "manifest.json"}
    assert store.locate("someone/model") == pulled
    origin = json.loads((pulled.folder / "manifest.json").read_text())["origin"]
    assert origin == f"hub:someone/model@{COMMIT}"


def test_bytes_that_are_not_what_the_hub_named_are_not_installed(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["someone/model"] = {"model.onnx": b"graph", "tokenizer.json": b"{}"}
    hub.wrong_sha = True
    with pytest.raises(ModelNotFound, match="sha256"):
        ModelStore(tmp_path, hub=Hub(hub.url)).pull("someone/model")
    assert list(tmp_path.iterdir()) == []


def test_what_the_hub_does_not_have_is_said(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["someone/pickle"] = {"pytorch_model.bin": b"a pickle", "tokenizer.json": b"{}"}
    store = ModelStore(tmp_path, hub=Hub(hub.url))
    with pytest.raises(ModelNotFound, match="no ONNX or safetensors weights"):
        store.pull("someone/pickle")
    with pytest.raises(ModelNotFound, match="not a known model"):
        store.pull("someone/nothing")
    with pytest.raises(ModelNotFound, match="not the name of a hub model"):
        store.pull("not a name at all")


def test_no_hub_is_told_apart_from_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubUnreachable, match="reachable"):
        Hub("http://127.0.0.1:9").listing("someone/model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
        Hub().listing("someone/model")


def test_onnx_is_preferred_and_other_weights_are_not_the_pinned_ones() -> None:
    listed = [RemoteFile(name, None) for name in ("model.safetensors", "onnx/model.onnx", "tokenizer.json", "x.py")]
    assert [file.name for file in usable_files(listed)] == ["onnx/model.onnx", "tokenizer.json"]
    assert exact_files(listed, BGE_SMALL.files) is None
