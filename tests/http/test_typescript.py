"""A TypeScript client that is generated from the OpenAPI document compiles, where `make typescript` fetched the tools before."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.http.document import document

FOLDER = Path(__file__).parents[2] / "typescript"
SOURCES = ("package.json", "tsconfig.json", "example.ts")


@pytest.mark.slow
def test_a_generated_client_compiles_and_finds_mistakes(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("Node.js is not installed")
    if not (FOLDER / "node_modules").is_dir():
        pytest.skip("`make typescript` was not run here: its tools are not fetched")
    for name in SOURCES:
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "openapi.json").write_text(json.dumps(document()))
    for script in ("generate", "check"):
        done = subprocess.run(["npm", "run", script], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "createClient" in (tmp_path / "build" / "js" / "example.js").read_text()
