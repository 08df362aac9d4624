import subprocess
import sys

import retrieval.inference


def test_ports_and_package_import_no_model_runtime() -> None:
    code = (
        "import sys, retrieval.ports, retrieval.passages, retrieval.inference\n"
        "heavy = {'onnxruntime', 'tokenizers', 'torch', 'sentence_transformers', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(' '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_public_name_resolves() -> None:
    assert all(getattr(retrieval.inference, name) is not None for name in retrieval.inference.__all__)
