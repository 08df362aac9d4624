"""The documentation's site builds without a warning, tells all that there is, and needs nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memoryd.mcp.catalogue import ENTRIES
from tests.http.document import operations, schemas

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(made)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(["", *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "WARNING" not in done.stderr
    return made


def test_the_reference_has_every_operation_and_schema(site: Path) -> None:
    headings = {name for page in (site / "rest").glob("*.html") for name in _headings(page)}
    assert operations() <= headings
    assert schemas() - {"JsonValue"} <= headings


def test_the_reference_has_every_tool_and_argument(site: Path) -> None:
    page = (site / "mcp-tools.html").read_text()
    assert set(ENTRIES) <= _headings(site / "mcp-tools.html")
    for entry in ENTRIES.values():
        assert all(f"<code>{name}</code>" in page for name in entry.tool.input_schema["properties"])


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|iframe|source)[^>]* src="([^"]*)"|<link[^>]* href="([^"]*)"', text)
        assert not [one for pair in fetched for one in pair if one.startswith(("http:", "https:", "//"))], page
        # What the theme would draw with a script from a network of other people's.
        assert 'class="mermaid"' not in text, page


def test_concepts_have_diagrams(site: Path) -> None:
    assert (site / "concepts.html").read_text().count("<figure><svg ") >= 3


def _headings(page: Path) -> set[str]:
    return {re.sub(r"<[^>]*>", "", one).removesuffix("&para;") for one in re.findall(r"<h2[^>]*>(.*?)</h2>", page.read_text())}
