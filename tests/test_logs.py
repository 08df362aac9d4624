"""Lines of the log: in order, none lost, those of one turn of the event loop in one write."""

import asyncio
import io
import logging
from collections.abc import Iterator

import pytest

from memoryd.logs import Turns


class Writes(io.StringIO):
    """What was written, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def write(self, text: str) -> int:
        self.made.append(text)
        return super().write(text)


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
def log(writes: Writes) -> Iterator[logging.Logger]:
    log = logging.Logger("turns", logging.INFO)
    handler = Turns(writes)
    log.addHandler(handler)
    yield log
    handler.close()


async def test_lines_of_a_turn_are_written_together_and_at_its_end(log: logging.Logger, writes: Writes) -> None:
    log.info("one")
    log.info("two %s", "and")
    assert writes.made == []
    await asyncio.sleep(0)
    assert writes.made == ["one\ntwo and\n"]
    log.info("three")
    await asyncio.sleep(0)
    assert writes.made[1:] == ["three\n"]


async def test_a_warning_is_written_at_once_behind_what_waited(log: logging.Logger, writes: Writes) -> None:
    log.info("one")
    log.warning("two")
    assert writes.getvalue() == "one\ntwo\n"
    await asyncio.sleep(0)
    assert writes.getvalue() == "one\ntwo\n"


async def test_a_thread_writes_at_once_behind_what_waited(log: logging.Logger, writes: Writes) -> None:
    log.info("one")
    await asyncio.to_thread(log.info, "two")
    assert writes.getvalue() == "one\ntwo\n"


async def test_a_turn_that_does_not_end_keeps_no_more_than_some(log: logging.Logger, writes: Writes) -> None:
    for number in range(100):
        log.info("%d", number)
    assert 0 < len(writes.made) < 10
    await asyncio.sleep(0)
    assert writes.getvalue().split() == [str(number) for number in range(100)]


def test_a_loop_that_ended_loses_nothing_and_the_next_one_writes(log: logging.Logger, writes: Writes) -> None:
    ended = asyncio.new_event_loop()
    ended.call_soon(log.info, "one")
    ended.call_soon(ended.stop)
    ended.run_forever()
    ended.close()
    assert writes.made == []

    async def next_loop() -> None:
        log.info("two")
        await asyncio.sleep(0)

    asyncio.run(next_loop())
    assert writes.made == ["one\ntwo\n"]
    log.info("three")
    assert writes.made[1:] == ["three\n"]


async def test_what_cannot_be_written_breaks_nothing(
    log: logging.Logger, writes: Writes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: str) -> int:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(writes, "write", full)
        log.warning("one")
        log.info("two")
        await asyncio.sleep(0)
    assert capsys.readouterr().err.count("OSError: no space") == 2
    log.warning("three")
    assert writes.getvalue() == "three\n"
    log.info("%d", "wrong")
    assert "TypeError" in capsys.readouterr().err
