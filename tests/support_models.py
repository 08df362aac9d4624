"""The real models for tests: from the cache that ``MEMORYD_MODEL_CACHE`` names, pulled when they are not there."""

import os
from pathlib import Path

from retrieval.inference import ModelStore
from retrieval.inference.registry import KNOWN_MODELS


def model_cache() -> Path:
    """The folder that tests read models from."""
    return Path(os.environ.get("MEMORYD_MODEL_CACHE") or "~/.cache/memoryd/models").expanduser()


def ready_model_store() -> ModelStore:
    """A store that has every known model."""
    store = ModelStore(model_cache())
    for name in KNOWN_MODELS:
        store.pull(name)
    return store
