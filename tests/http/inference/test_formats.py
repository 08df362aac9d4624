"""Every format gives the vectors of the backend alone; what cannot be given is refused in the caller's words."""

import asyncio
import base64
import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import JsonValue

from memoryd.http.inference import answers
from memoryd.served_models import Served, open_served
from memoryd.settings import Settings
from retrieval.inference import ModelStore, ModelTokenizer, load_embedder
from retrieval.inference.onnx_reranker import OnnxReranker
from retrieval.inference.registry import BGE_SMALL, MS_MARCO_MINILM
from retrieval.inference.tokenizer import Encoding
from retrieval.inference.wire import from_bytes
from retrieval.ports import Lane, ModelCard
from retrieval.vectors import Vectors
from tests.http.inference.conftest import MAX_BODY, MAX_TEXTS, TOKENS
from tests.support_models import model_cache

TEXTS = ["A heron stands in the reeds.", "The ferry leaves at nine.", "x", "Ω naïve 北京", "word " * 600]
SHORT = TEXTS[:4]
LONG = TEXTS[4]
RAW = {"Accept": "application/octet-stream"}
NAME = BGE_SMALL.name


@pytest.fixture(scope="module")
def expected() -> tuple[ModelCard, Vectors]:
    """Of the passages, by the backend alone."""
    backend = load_embedder(ModelStore(model_cache()).locate(NAME), threads=2)
    try:
        return backend.card, backend.embed(TEXTS)
    finally:
        backend.close()


def close(found: object, wanted: Vectors) -> None:
    np.testing.assert_allclose(np.asarray(found, dtype=np.float32), wanted, atol=1e-5)


async def test_raw_floats_with_what_must_be_known_of_them(http: httpx.AsyncClient, expected: tuple[ModelCard, Vectors]) -> None:
    card, wanted = expected
    answer = await http.post("/embed", json={"texts": TEXTS, "kind": "passage", "lane": "bulk", "model": NAME})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-memoryd-shape"] == f"{len(TEXTS)},{card.dimension}"
    assert (answer.headers["x-memoryd-model"], answer.headers["x-memoryd-revision"]) == (card.name, card.revision)
    assert len(answer.content) == 4 * len(TEXTS) * card.dimension
    close(from_bytes(answer.content, answer.headers["x-memoryd-shape"]), wanted)


async def test_every_format_gives_these_vectors(http: httpx.AsyncClient, expected: tuple[ModelCard, Vectors]) -> None:
    card, wanted = expected
    own = (await http.post("/embed", json={"inputs": TEXTS, "kind": "passage"}, headers={"Accept": "application/json"})).json()
    assert {name: own[name] for name in ("model", "revision", "dimension")} == {
        "model": card.name,
        "revision": card.revision,
        "dimension": card.dimension,
    }
    close(own["embeddings"], wanted)
    tei = await http.post("/embed", json={"inputs": TEXTS, "truncate": True, "normalize": True})
    assert tei.headers["content-type"] == "application/json"
    close(tei.json(), wanted)
    close((await http.post("/embed", json={"inputs": TEXTS[0]})).json(), wanted[:1])
    raw = await http.post("/embed", json={"inputs": TEXTS}, headers=RAW)
    close(from_bytes(raw.content, raw.headers["x-memoryd-shape"]), wanted)
    for form in ("float", "base64"):
        said = (await http.post("/v1/embeddings", json={"input": SHORT, "model": NAME, "encoding_format": form})).json()
        assert (said["object"], said["model"]) == ("list", NAME)
        assert [(row["object"], row["index"]) for row in said["data"]] == [("embedding", n) for n in range(4)]
        rows = [row["embedding"] for row in said["data"]]
        close([np.frombuffer(base64.b64decode(row), "<f4") if form == "base64" else row for row in rows], wanted[:4])


async def test_a_question_has_the_models_prefix_and_a_format_without_kinds_has_none(http: httpx.AsyncClient) -> None:
    question = from_bytes((await http.post("/embed", json={"texts": ["heron"], "kind": "query"})).content, "1,384")
    spelled = (await http.post("/embed", json={"inputs": BGE_SMALL.query_prefix + "heron"})).json()
    named = (await http.post("/embed", json={"inputs": "heron", "prompt_name": "query"})).json()
    close(spelled, question)
    close(named, question)
    plain = (await http.post("/v1/embeddings", json={"input": "heron", "model": NAME})).json()["data"][0]["embedding"]
    assert np.abs(np.asarray(plain) - question).max() > 1e-3


async def test_openai_counts_what_was_read(http: httpx.AsyncClient) -> None:
    said = (await http.post("/v1/embeddings", json={"input": ["heron", "a ferry"], "model": NAME, "user": "u"})).json()
    assert said["usage"] == {"prompt_tokens": 7, "total_tokens": 7}, "with the special ones: 3 and 4"
    listed = (await http.get("/v1/models")).json()
    assert [one["id"] for one in listed["data"]] == [NAME]


async def test_reranking(http: httpx.AsyncClient) -> None:
    model = OnnxReranker(ModelStore(model_cache()).locate(MS_MARCO_MINILM.name), threads=2)
    texts = ["The ferry leaves at nine.", "A heron stands in the reeds.", "Nothing of that."]
    wanted = model.score([("Where is the heron?", text) for text in texts])
    model.close()
    body: dict[str, Any] = {"query": "Where is the heron?", "texts": texts}
    rows = (await http.post("/rerank", json=body)).json()
    assert rows[0]["index"] == 1
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert {row["index"]: row["score"] for row in rows} == pytest.approx(dict(enumerate(wanted)), abs=1e-5)
    assert all(set(row) == {"index", "score"} for row in rows)
    raw = (
        await http.post("/rerank", json=body | {"raw_scores": True, "return_text": True, "model": MS_MARCO_MINILM.name})
    ).json()
    assert [row["text"] for row in raw] == [texts[row["index"]] for row in raw]
    logits = np.array([row["score"] for row in raw])
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), [row["score"] for row in rows], atol=1e-5)


async def test_what_a_client_must_know(http: httpx.AsyncClient, expected: tuple[ModelCard, Vectors]) -> None:
    card, _ = expected
    said = (await http.get("/models")).json()
    assert said["limits"] == {"max_texts": MAX_TEXTS}
    embedder, reranker = said["models"]
    assert embedder == {
        "name": card.name,
        "role": "embedder",
        "revision": card.revision,
        "dimension": card.dimension,
        "max_tokens": card.max_tokens,
        "query_prefix": card.query_prefix,
        "passage_prefix": card.passage_prefix,
        "normalized": True,
    }
    assert (reranker["name"], reranker["role"]) == (MS_MARCO_MINILM.name, "reranker")
    info = (await http.get("/info")).json()
    assert (info["model_id"], info["max_client_batch_size"]) == (NAME, MAX_TEXTS)
    tokenizer = await http.get(f"/models/{NAME}/tokenizer")
    assert tokenizer.content == ModelStore(model_cache()).locate(NAME).tokenizer.read_bytes()
    assert tokenizer.headers["x-memoryd-revision"] == card.revision


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/embed", {"texts": ["x"], "model": "nobody/none"}, 404, "unknown_model"),
        ("/embed", {"texts": ["x"], "model": "../../etc"}, 404, "unknown_model"),
        ("/embed", {}, 422, "invalid_request"),
        ("/embed", [], 422, "invalid_request"),
        ("/embed", {"texts": []}, 422, "invalid_request"),
        ("/embed", {"texts": ["x"], "inputs": ["x"]}, 422, "invalid_request"),
        ("/embed", {"texts": ["x", 3]}, 422, "invalid_request"),
        ("/embed", {"inputs": [[101, 102]]}, 422, "invalid_request"),
        ("/embed", {"texts": ["x"], "kind": "question"}, 422, "invalid_request"),
        ("/embed", {"texts": ["x"], "lane": "fast"}, 422, "invalid_request"),
        ("/embed", {"texts": ["x"], "kinds": "query"}, 422, "invalid_request"),
        ("/embed", {"inputs": "x", "normalize": False}, 422, "invalid_request"),
        ("/embed", {"inputs": "x", "dimensions": 64}, 422, "invalid_request"),
        ("/embed", {"inputs": LONG, "truncate": False}, 413, "payload_too_large"),
        ("/embed", {"inputs": ["x", LONG], "truncate": False}, 413, "payload_too_large"),
        ("/embed", {"inputs": " " * (64 * 512 + 1), "truncate": False}, 413, "payload_too_large"),
        ("/embed", {"inputs": "\ud800", "truncate": False}, 422, "input_refused"),
        ("/embed", {"inputs": "\ud800"}, 422, "input_refused"),
        ("/embed", {"\ud800": 1}, 422, "invalid_request"),
        ("/rerank", {"query": "\ud800", "texts": ["x"]}, 422, "input_refused"),
        ("/embed", {"texts": ["x"] * (MAX_TEXTS + 1)}, 413, "payload_too_large"),
        ("/embed", {"texts": ["x" * MAX_BODY]}, 413, "payload_too_large"),
        ("/rerank", {"texts": ["x"]}, 422, "invalid_request"),
        ("/rerank", {"query": "q", "texts": ["x"], "model": NAME}, 404, "unknown_model"),
        ("/rerank", {"query": "q", "texts": ["x"] * (MAX_TEXTS + 1)}, 413, "payload_too_large"),
    ],
)
async def test_refusals_are_problems(http: httpx.AsyncClient, path: str, body: object, status: int, code: str) -> None:
    answer = await http.post(path, content=json.dumps(body))
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert len(answer.content) < 2_000


@pytest.mark.parametrize(
    ("body", "status", "kind", "code"),
    [
        ({"input": "x", "model": "gpt"}, 404, "invalid_request_error", "model_not_found"),
        ({"input": "x", "dimensions": 64}, 400, "invalid_request_error", "invalid_request"),
        ({"input": "x", "encoding_format": "int8"}, 400, "invalid_request_error", "invalid_request"),
        ({"input": [1, 2, 3]}, 400, "invalid_request_error", "invalid_request"),
        ({"input": LONG}, 400, "invalid_request_error", "invalid_request"),
        ({"input": ["x", "\ud800"]}, 400, "invalid_request_error", "input_refused"),
        ({"\ud800": 1}, 400, "invalid_request_error", "invalid_request"),
        ({"input": ["x"] * (MAX_TEXTS + 1)}, 413, "invalid_request_error", "payload_too_large"),
        ({"input": "x" * MAX_BODY}, 413, "invalid_request_error", "payload_too_large"),
    ],
)
async def test_refusals_of_openais_route_have_its_shape(
    http: httpx.AsyncClient, body: object, status: int, kind: str, code: str
) -> None:
    answer = await http.post("/v1/embeddings", content=json.dumps(body))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)


async def test_a_prefix_counts_for_what_must_not_be_cut(http: httpx.AsyncClient) -> None:
    """``Represent this sentence for searching relevant passages: `` has nine tokens."""
    full, behind = "word " * 510, "word " * 501
    for text, name, status in ((full, None, 200), (full, "passage", 200), (full, "query", 413), (behind, "query", 200)):
        answer = await http.post("/embed", json={"inputs": text, "truncate": False, "prompt_name": name})
        assert answer.status_code == status, (name, answer.text)
    usage = (await http.post("/v1/embeddings", json={"input": ["word word", full]})).json()["usage"]
    assert usage["prompt_tokens"] == 4 + 512


async def test_what_is_too_long_is_not_counted_to_its_end(models: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer keeps some hundred bytes of each token: a body of 16 MiB would take gigabytes."""
    model, at_once, encode = models.embedder(None), list[int](), ModelTokenizer.encode

    def recorded(self: ModelTokenizer, texts: Sequence[str]) -> list[Encoding]:
        at_once.append(sum(len(self._seen(text)) for text in texts))
        return encode(self, texts)

    monkeypatch.setattr(ModelTokenizer, "encode", recorded)
    assert await model.lengths(["x", "a " * 1_000_000, "x"], prefix="") == [3, 513]
    assert await model.lengths(["a " * 200] * 300 + [LONG, "x"], prefix="") == [202] * 300 + [513]
    assert max(at_once) <= 64 * 513
    assert len(at_once) > 5


async def test_a_dimension_that_is_the_models_is_no_wish(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/embeddings", json={"input": "x", "dimensions": 384})).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b'{"texts": ["x"], "texts": ["y"]}', b"\xff", b'{"texts": [NaN]}', b"[" * 5000])
async def test_bodies_that_are_no_json(http: httpx.AsyncClient, content: bytes) -> None:
    answer = await http.post("/embed", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


async def test_a_body_that_does_not_say_how_long_it_is_is_cut_off(url: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    head = f"POST /embed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS[0]}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = f"{10_000:x}\r\n{'x' * 10_000}\r\n"
    writer.write((head + chunk * (MAX_BODY // 10_000 + 1)).encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKENS[0]}"}])
async def test_a_token_is_needed_to_compute(url: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=url, headers=headers) as nobody:
        for path in ("/embed", "/rerank", "/v1/embeddings"):
            answer = await nobody.post(path, content=b"{")
            assert answer.status_code == 401, "before the body is looked at"
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await nobody.post("/v1/embeddings", json={})).json()["error"]["code"] == "invalid_api_key"
        assert (await nobody.get("/models")).status_code == 401
        assert [(await nobody.get(path)).status_code for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]


async def test_every_token_will_do(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        for token in TOKENS:
            assert (await client.get("/models", headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_paths_and_methods_that_are_not_there(http: httpx.AsyncClient) -> None:
    for method, path, status, code in (("GET", "/nowhere", 404, "not_found"), ("GET", "/embed", 405, "method_not_allowed")):
        answer = await http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await http.get("/models/none/tokenizer")).status_code == 404


async def test_metrics_say_what_was_done_and_nothing_of_what_was_sent(http: httpx.AsyncClient) -> None:
    await http.post("/embed", json={"texts": ["SECRET heron"], "kind": "query"})
    text = (await http.get("/metrics")).text
    assert "memoryd_inference_ready 1\n" in text
    assert 'memoryd_inference_requests_total{route="/embed",status="200"}' in text
    assert f'memoryd_inference_texts_total{{model="{NAME}",lane="interactive"}}' in text
    assert "SECRET" not in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    declared = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names} <= declared | names


async def test_long_texts_are_not_written_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[threading.Thread] = []

    def recorded(value: JsonValue) -> bytes:
        written.append(threading.current_thread())
        return json.dumps(value).encode()

    monkeypatch.setattr(answers, "_json", recorded)
    card = ModelCard("model", "1", 0, 0)
    rows: list[JsonValue] = [{"index": 0, "score": 0.5, "text": "x"}]
    for characters in (1_000, 1_000_000):
        answer = await answers.json_ranking(rows, card, characters=characters)
        assert json.loads(bytes(answer.body)) == rows
    assert [thread is threading.main_thread() for thread in written] == [True, False]


async def test_the_prompts_of_a_folder_go_before_texts_once(tmp_path: Path, expected: tuple[ModelCard, Vectors]) -> None:
    """A folder of unknown bytes, whose sentence-transformers configuration has prompts."""
    known = ModelStore(model_cache()).locate(NAME)
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(known.folder / name, tmp_path / name)
    (tmp_path / "model.onnx").write_bytes(known.weights.read_bytes() + b"\xfa\x3f\x01x")
    prompts = '{"prompts": {"query": "query: ", "passage": "passage: "}}'
    (tmp_path / "config_sentence_transformers.json").write_text(prompts)
    backend = load_embedder(ModelStore(model_cache()).locate(str(tmp_path)), threads=1)
    settings = Settings(inference_embedders=str(tmp_path), inference_rerankers="", rerank_model="")
    try:
        async with open_served(settings) as models:
            model = models.embedder(None)
            assert (model.card.query_prefix, model.card.passage_prefix) == ("query: ", "passage: ")
            for prefix in (model.card.query_prefix, model.card.passage_prefix, ""):
                found = await model.embed(["a heron"], prefix=prefix, lane=Lane.INTERACTIVE, owner=None)
                close(found, backend.embed([prefix + "a heron"]))
    finally:
        backend.close()
