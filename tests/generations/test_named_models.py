"""Models that generations are made of with the operator's key: every process must find them again by name."""

import shutil
from pathlib import Path

import pytest

from memoryd.generations.model import Generation
from memoryd.generations.shelf import ModelShelf
from memoryd.models import card_of, open_embedder
from memoryd.settings import Settings
from retrieval.errors import ModelNotFound
from retrieval.inference.registry import BGE_SMALL, WORDLLAMA
from retrieval.inference.remote.kinds import ServerKind
from retrieval.ports import Lane
from tests.generations.tiny import Tiny
from tests.support_models import ready_model_store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With an empty cache."""
    (tmp_path / "cache").mkdir()
    return Settings(model_cache=tmp_path / "cache", inference_threads=1)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A folder with a model that nobody knows."""
    known, folder = ready_model_store().locate(BGE_SMALL.name), tmp_path / "models" / "ours"
    folder.mkdir(parents=True)
    shutil.copy(known.tokenizer, folder)
    (folder / "model.onnx").write_bytes(known.weights.read_bytes() + b"\xfa\x3f\x01x")
    return folder


async def test_a_folder_is_another_processs_model_too_or_no_generation_is_made_of_it(settings: Settings, ours: Path) -> None:
    with pytest.raises(ModelNotFound, match="'ours' is not found"):
        await card_of(settings, str(ours), trusted=True)
    (settings.model_cache / "ours").symlink_to(ours)
    card = await card_of(settings, str(ours), trusted=True)
    assert (card.name, await card_of(settings, "ours", trusted=True)) == ("ours", card)
    with pytest.raises(ModelNotFound, match="at hand"):
        await card_of(settings, "ours", trusted=False)

    generation = Generation(2, card.name, card.revision, card.dimension, card.query_prefix, card.passage_prefix)
    shelf = ModelShelf(Tiny("first", 8), lambda name: open_embedder(settings, name))
    try:
        embedder = await shelf.of(generation)
        assert (await embedder.embed_passages(["a heron"], lane=Lane.INTERACTIVE)).shape == (1, 384)
    finally:
        await shelf.close()

    (settings.model_cache / "ours").unlink()
    (settings.model_cache / "ours").mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        shutil.copy(ours / name, settings.model_cache / "ours")
    (settings.model_cache / "ours" / "config.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="another model"):
        await card_of(settings, str(ours), trusted=True)


@pytest.mark.parametrize("name", ["ours", "./ours"])
async def test_a_folder_where_this_process_runs_is_nowhere_for_others(
    settings: Settings, ours: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(ours.parent)
    with pytest.raises(ModelNotFound, match="'ours' is not found"):
        await card_of(settings, name, trusted=True)
    configured = settings.model_copy(update={"embedding_model": name})
    assert (await card_of(configured, name, trusted=True)).name == "ours"
    (settings.model_cache / "ours").symlink_to(ours)
    assert (await card_of(settings, name, trusted=True)).name == "ours"


async def test_the_configured_folder_is_known_to_every_process(settings: Settings, ours: Path) -> None:
    configured = settings.model_copy(update={"embedding_model": str(ours)})
    assert (await card_of(configured, str(ours), trusted=True)).name == "ours"


@pytest.mark.parametrize("kind", [ServerKind.TEI, ServerKind.OPENAI])
async def test_servers_of_one_model_are_not_asked_for_another(settings: Settings, kind: ServerKind) -> None:
    """Which is loaded here where it can be, or refused with the reason."""
    cache = ready_model_store().locate(WORDLLAMA.name).folder.parent
    there = settings.model_copy(
        update={
            "embedding_urls": "http://127.0.0.1:1",
            "embedding_kind": kind,
            "embedding_model": "acme/old",
            "model_cache": cache,
        }
    )
    with pytest.raises(ModelNotFound, match=f"speak {kind} are asked for the configured model alone"):
        await card_of(there, "acme/new", trusted=True)
    assert (await card_of(there, WORDLLAMA.name, trusted=True)).dimension == 256
