"""Who answers tells who works beside that somebody waits."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from memoryd.asked import Asked
from memoryd.http.middleware import HEADERS, Authentication

GOOD, BAD = "good", "bad"


class Clock:
    at = 1_000.0

    def __call__(self) -> float:
        return self.at


async def noted(asked: Asked) -> None:
    touching = asked.note()
    assert touching is not None
    await touching


async def test_what_one_notes_the_other_sees_for_two_seconds(tmp_path: Path) -> None:
    clock = Clock()
    api, worker = Asked(tmp_path / "asked", now=clock), Asked(tmp_path / "asked", now=clock)
    assert not worker.lately(), "there is no file"
    await noted(api)
    os.utime(tmp_path / "asked", (clock.at, clock.at))  # as the test's clock has it
    assert not worker.lately(), "it has just looked"
    clock.at += 0.1
    assert worker.lately()
    clock.at += 2.0
    assert not worker.lately()
    (tmp_path / "asked").unlink()
    clock.at += 0.1
    assert not worker.lately()


async def test_the_file_is_touched_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[float] = []
    clock = Clock()
    api = Asked(tmp_path / "asked", now=clock)
    monkeypatch.setattr(api, "_touch", lambda: touched.append(clock.at))
    for _ in range(100):
        if (touching := api.note()) is not None:
            await touching
        clock.at += 0.01
    assert touched == pytest.approx([1_000.0, 1_000.25, 1_000.5, 1_000.75], abs=0.05)


async def test_a_file_that_cannot_be_touched_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    api = Asked(tmp_path / "nowhere" / "asked", now=clock)
    with caplog.at_level(logging.WARNING):
        await noted(api)
        clock.at += 10
        await noted(api)
        assert [one.levelname for one in caplog.records] == ["WARNING"]
        (tmp_path / "nowhere").mkdir()
        clock.at += 10
        await noted(api)
        assert (tmp_path / "nowhere" / "asked").exists(), "it goes on trying"
    assert len(caplog.records) == 1


class Keys:
    async def scope(self, credential: str, request_id: str) -> str:
        if credential != GOOD:
            raise PermissionError
        return "scope"


class Noting(Asked):
    count = 0

    def note(self) -> None:
        self.count += 1


@pytest.mark.parametrize(
    ("path", "key", "count"),
    [
        ("/v1/recall", GOOD, 1),
        ("/v1/context", GOOD, 1),
        ("/v1/context/expand", GOOD, 1),
        ("/v1/sessions/s/messages", GOOD, 1),
        ("/v1/knowledge-bases/handbook/search", GOOD, 1),
        ("/mcp", GOOD, 1),
        ("/v1/recall", BAD, 0),
        ("/v1/recalls", GOOD, 0),
        ("/v1/memories", GOOD, 0),
        ("/v1/jobs/1", GOOD, 0),
        ("/v1/knowledge-bases/handbook/documents", GOOD, 0),
        ("/v1/knowledge-bases/search/uploads", GOOD, 0),
    ],
)
async def test_what_agents_wait_for_is_noted(path: str, key: str, count: int, tmp_path: Path) -> None:
    asked, passed = Noting(tmp_path / "asked"), []

    async def app(*given: object) -> None:
        passed.append(given)

    async def unused(*_: object) -> None:
        raise AssertionError

    keys: Any = Keys()
    door: Any = Authentication(app, authenticator=lambda: keys, operator_key=lambda: None, asked=asked)
    scope = {"type": "http", "path": path, "state": {"request_id": "r", HEADERS: {b"x-api-key": key.encode()}}}
    if key == BAD:
        with pytest.raises(PermissionError):
            await door(scope, unused, unused)
    else:
        await door(scope, unused, unused)
    assert (asked.count, len(passed)) == (count, int(key == GOOD))
