"""Models behind the ports: where their files come from, how they run, and who waits for whom.

::

    ModelStore.locate/pull -> ModelFiles -> load_embedder / load_reranker -> backends (blocking)
                                                  InferenceRuntime -> ports.Embedder, ports.Reranker (async)

Importing this package imports neither onnxruntime nor torch: a name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.inference.backends import EmbedderBackend as EmbedderBackend
    from retrieval.inference.backends import RerankerBackend as RerankerBackend
    from retrieval.inference.backends import load_embedder as load_embedder
    from retrieval.inference.backends import load_reranker as load_reranker
    from retrieval.inference.batches import BatchLimits as BatchLimits
    from retrieval.inference.model_files import ModelFiles as ModelFiles
    from retrieval.inference.models import ModelStore as ModelStore
    from retrieval.inference.registry import KNOWN_MODELS as KNOWN_MODELS
    from retrieval.inference.registry import ModelSpec as ModelSpec
    from retrieval.inference.runtime import InferenceRuntime as InferenceRuntime
    from retrieval.inference.runtime import RuntimeLimits as RuntimeLimits
    from retrieval.inference.tokenizer import ModelTokenizer as ModelTokenizer

_HOMES = {
    "BatchLimits": "batches",
    "EmbedderBackend": "backends",
    "InferenceRuntime": "runtime",
    "KNOWN_MODELS": "registry",
    "ModelFiles": "model_files",
    "ModelSpec": "registry",
    "ModelStore": "models",
    "ModelTokenizer": "tokenizer",
    "RerankerBackend": "backends",
    "RuntimeLimits": "runtime",
    "load_embedder": "backends",
    "load_reranker": "backends",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
