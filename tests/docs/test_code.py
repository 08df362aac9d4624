"""The code of the pages does what they say."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.blocks import WORKER, Block, blocks, missing, outputs, script
from tests.docs.conftest import ROOT, ran
from tests.http.conftest import Tenant

PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
# tests/client/test_whole.py runs those that need a worker.
RUN = [page for page in PAGES if {block.mark for block in blocks(page) if block.runs} - {WORKER}]
NAMES = [page.relative_to(ROOT).as_posix() for page in RUN]


@pytest.mark.parametrize("page", RUN, ids=NAMES)
async def test_what_a_page_runs(page: Path, environment: Mapping[str, str], tenant: Tenant, tmp_path: Path) -> None:
    # Something to find: most pages begin where others have written before.
    await tenant.remember("Maya likes a table by the window.", kind="preference", user_id="maya")
    some = blocks(page)
    done = await ran(environment, "bash", "-c", script(some), folder=tmp_path)
    printed = outputs(done.output)
    ended = [f"line {block.line}" for block in some if block.runs][: len(printed)]
    assert done.status == 0, f"{ended[-1]}: {done.all}"
    assert not missing(some, printed)


def test_the_main_guides_run() -> None:
    assert {"README.md", "docs/agents.md", "docs/api.md", "docs/quickstart.md", "docs/sessions.md"} <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_and_json_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.code)
        elif block.language == "json" and block.mark != "shows":
            json.loads(block.code)


async def test_a_request_that_is_refused_fails_its_page(environment: Mapping[str, str], tmp_path: Path) -> None:
    fine, refused = (
        Block("json", '{"name": "team"}\n', "run: POST /v1/spaces", 1),
        Block("json", "{}\n", "run: POST /v1/recall", 4),
    )
    done = await ran(environment, "bash", "-c", script([fine, refused, fine]), folder=tmp_path)
    assert done.status == 22, done.all
    assert len(outputs(done.output)) == 2
    assert '"code":"invalid_request"' in done.output


def test_a_page_that_says_what_is_not_so_is_found() -> None:
    said, shown = Block("bash", "echo one two", "run", 1), Block("", "one …\ntwo three\n", "shows", 5)
    assert missing([said, shown], ["one two\n"]) == ["line 5: two three"]
