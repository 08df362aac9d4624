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


def test_the_command_line_imports_no_tokenizer_tables() -> None:
    """``bpe_openai`` takes seconds to import: only what counts tokens may wait for it."""
    code = "import sys, memoryd.cli, memoryd.cli.main, retrieval.packing\nsys.exit('bpe_openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
