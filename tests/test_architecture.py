"""The fences between the rings, and around libraries, hold and bite: import-linter on a copy with imports planted in it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RINGS = ("evals", "memoryd", "ingestion", "retrieval")

# Each library has one home, so that it can be replaced there.
HOMES = {
    "fastapi": "memoryd.http",
    "starlette": "memoryd.http",
    "mcp": "memoryd.mcp",
    "mcp_types": "memoryd.mcp",
    "httpx2": "memoryd.mcp",
    "neo4j": "memoryd.stores",
    "obstore": "memoryd.stores",
    "pgvector": "memoryd.stores",
    "psycopg": "memoryd.stores",
    "psycopg_pool": "memoryd.stores",
    "qdrant_client": "memoryd.stores",
    "redis": "memoryd.stores",
    "arq": "memoryd.jobs",
    "charset_normalizer": "ingestion.parse",
    "lxml": "ingestion.parse",
    "pypdfium2": "ingestion.parse",
    "python_calamine": "ingestion.parse",
    "onnxruntime": "retrieval.inference",
    "sentence_transformers": "retrieval.inference",
    "torch": "retrieval.inference",
}
# Where nothing of them belongs: each ring, a package that nobody has thought of yet, and every home of another library.
PLACES = (*RINGS, "memoryd.new", "memoryd.new.deeper", "retrieval.new", *sorted(set(HOMES.values())))
OUTWARD = [(inner, outer) for i, outer in enumerate(RINGS) for inner in RINGS[i + 1 :]]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """The planted imports that import-linter refuses, as (importer, imported)."""
    copy = tmp_path_factory.mktemp("planted")
    for ring in RINGS:
        shutil.copytree(ROOT / ring, copy / ring, ignore=lambda _, names: {n for n in names if n == "__pycache__"})
    shutil.copy(ROOT / "pyproject.toml", copy)
    for library in HOMES:
        for place in PLACES:
            _plant(copy, f"{place}.planted_{library}", library)
    for inner, outer in OUTWARD:
        _plant(copy, f"{inner}.planted_{outer}", outer)
    found = _linted(copy)
    assert found.returncode == 1, found.stdout + found.stderr
    arrows = re.findall(r"^\s+-\s+(\S+) -> (\S+) \(l\.\d+\)$", found.stdout, re.MULTILINE)
    return {(importer, imported.partition(".")[0]) for importer, imported in arrows}


def _plant(copy: Path, module: str, imported: str) -> None:
    path = copy.joinpath(*module.split("."))
    for folder in path.parents:
        if folder == copy:
            break
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "__init__.py").touch()
    path.with_suffix(".py").write_text(f"import {imported}\n")


def _linted(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tree_keeps_its_contracts() -> None:
    found = _linted(ROOT)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("library", HOMES)
def test_a_library_stays_in_its_home(library: str, refused: set[tuple[str, str]]) -> None:
    expected = {f"{place}.planted_{library}" for place in PLACES if place != HOMES[library]}
    assert {importer for importer, imported in refused if imported == library} == expected


@pytest.mark.parametrize(("inner", "outer"), OUTWARD)
def test_rings_point_inward(inner: str, outer: str, refused: set[tuple[str, str]]) -> None:
    assert (f"{inner}.planted_{outer}", outer) in refused
