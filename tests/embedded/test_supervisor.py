"""Small real processes under supervision: order, restarts, stubborn ones, and nothing left over."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryd.embedded import log, process, state
from memoryd.embedded.backoff import Backoff
from memoryd.embedded.datadir import DataDir, opened, read_state
from memoryd.embedded.errors import ChildFailed, PortTaken
from memoryd.embedded.ports import Ports, listen
from memoryd.embedded.spec import ChildSpec, StopStep
from memoryd.embedded.supervisor import Supervisor
from tests.embedded.running import alive, descriptors, eventually, group_members, until

READY = "import os, time, signal; os.write(int(os.environ['MEMORYD_READY_FD']), b'1'); "


@pytest.fixture
def data(place: Path) -> Iterator[DataDir]:
    with opened(place / "d") as directory:
        yield directory


def python(name: str, code: str, *, depends_on: tuple[str, ...] = (), patience_s: float = 2.0) -> ChildSpec:
    return ChildSpec(
        name,
        (sys.executable, "-c", code),
        env=dict(os.environ),
        depends_on=depends_on,
        stop=(StopStep(signal.SIGTERM, patience_s),),
        start_timeout_s=10,
    )


def supervisor(data: DataDir) -> Supervisor:
    events = log.EventLog(data.logs / "supervisor.log", stderr=None)
    return Supervisor(data, events=events, url="http://x", backoff=Backoff(first_s=0.02))


def pid(data: DataDir, name: str) -> int | None:
    known = read_state(data.path)
    assert known is not None
    return known.children[name].pid


async def test_started_in_order_stopped_in_reverse_and_nothing_is_left(data: DataDir) -> None:
    stack = supervisor(data)
    before = descriptors()
    pids: list[int] = []

    async def compose() -> None:
        for name in ("one", "two"):
            # Each also has a child of its own, which must go with it.
            await stack.start(python(name, READY + "os.fork(); time.sleep(60)"))
        known = read_state(data.path)
        assert known is not None
        assert (known.state, known.alive, known.url) == ("starting", True, "http://x")
        assert list(known.children) == ["one", "two"]
        pids.extend(child.pid or 0 for child in known.children.values())
        pids.extend(one for one in group_members(pids) if one not in pids)
        assert len(pids) == 4
        stack.stop()

    await stack.run(compose)
    await until(lambda: not alive(pids))
    said = [line for line in (data.logs / "supervisor.log").read_text().splitlines() if "child_stopped" in line]
    assert '"two"' in said[0]
    assert '"one"' in said[1]
    await until(lambda: descriptors() <= before)


async def test_a_child_that_dies_is_restarted_after_what_it_depends_on(data: DataDir) -> None:
    stack = supervisor(data)

    async def compose() -> None:
        await stack.start(python("base", READY + "time.sleep(60)"))
        await stack.start(python("upper", READY + "time.sleep(60)", depends_on=("base",)))
        first = pid(data, "base"), pid(data, "upper")
        for one in first:
            assert one is not None
            os.kill(one, signal.SIGKILL)
        await until(lambda: all(pid(data, name) not in (None, *first) for name in ("base", "upper")))
        known = read_state(data.path)
        assert known is not None
        assert known.children["upper"].restarts == 1
        started = [line for line in (data.logs / "supervisor.log").read_text().splitlines() if "child_started" in line]
        assert ['"base"' in line for line in started] == [True, False, True, False]
        stack.stop()

    await stack.run(compose)


async def test_a_child_that_never_becomes_ready_fails_the_start_with_its_last_words(data: DataDir) -> None:
    stack = supervisor(data)

    async def compose() -> None:
        await stack.start(python("base", READY + "time.sleep(60)"))
        await stack.start(python("broken", "print('no such setting', flush=True); raise SystemExit(3)"))

    with pytest.raises(ChildFailed, match=r"(?s)exit status 3.*no such setting"):
        await stack.run(compose)
    assert pid(data, "base") is None


async def test_a_program_that_does_not_exist_fails_the_start(data: DataDir) -> None:
    stack = supervisor(data)

    async def compose() -> None:
        await stack.start(ChildSpec("absent", ("/nonexistent/program",), env={}))

    with pytest.raises(ChildFailed, match="cannot start /nonexistent/program"):
        await stack.run(compose)


async def test_a_child_that_ignores_its_signal_is_killed_in_time(data: DataDir) -> None:
    stack = supervisor(data)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "time.sleep(60)"

    async def compose() -> None:
        await stack.start(python("stubborn", code, patience_s=0.3))
        stack.stop()

    async with asyncio.timeout(5):
        await stack.run(compose)
    assert pid(data, "stubborn") is None


async def test_the_second_signal_kills_at_once(data: DataDir) -> None:
    stack = supervisor(data)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "time.sleep(60)"

    async def compose() -> None:
        await stack.start(python("stubborn", code, patience_s=60))
        os.kill(os.getpid(), signal.SIGTERM)
        asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(5):
        await stack.run(compose)
    assert pid(data, "stubborn") is None


async def test_a_signal_while_starting_stops_what_has_started(data: DataDir) -> None:
    stack = supervisor(data)

    async def compose() -> None:
        asyncio.get_running_loop().call_later(0.3, stack.stop)
        await stack.start(python("slow", "import time; time.sleep(60)"))
        raise AssertionError("never ready")

    async with asyncio.timeout(5):
        await stack.run(compose)
    assert pid(data, "slow") is None


async def test_a_child_that_drains_is_replaced_once_it_has_gone(data: DataDir) -> None:
    stack = supervisor(data)
    code = READY + "time.sleep(0.2); os.close(int(os.environ['MEMORYD_READY_FD'])); time.sleep(0.3)"

    async def compose() -> None:
        await stack.start(python("drains", code))
        known: list[str] = []

        def seen() -> bool:
            current = read_state(data.path)
            assert current is not None
            known.append(current.children["drains"].state)
            return current.children["drains"].restarts > 0

        await until(seen)
        assert "draining" in known
        stack.stop()

    await stack.run(compose)


def test_orphans_are_ended_only_when_they_are_who_they_were(data: DataDir) -> None:
    ours, stranger = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
    children = {
        "ours": state.ChildState("ready", ours.pid, process.identity(ours.pid)),
        "stranger": state.ChildState("ready", stranger.pid, "another boot/1"),
    }
    path = data.run / "state.json"
    state.write(path, state.StackState(2**22 + 1, "gone", "running", children=children))
    assert state.end_orphans(path) == ["ours"]
    assert ours.wait(1) == -signal.SIGTERM
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_what_nobody_waits_for_is_reaped_in_the_second_round() -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("only on Linux can a supervisor be the first process")
    left = os.posix_spawn("/bin/true", ["true"], {})
    eventually(lambda: process.identity(left) is None)
    seen = process.reap_strangers(frozenset())
    assert left in seen
    assert Path(f"/proc/{left}").exists()
    assert left not in process.reap_strangers(process.reap_strangers(seen))
    assert not Path(f"/proc/{left}").exists()


@given(st.lists(st.floats(0, 29), min_size=1, max_size=20))
def test_backoff_doubles_to_its_cap_and_starts_over_after_a_settled_life(lives: list[float]) -> None:
    backoff, pause = Backoff(), None
    for number, lived in enumerate(lives):
        pause = backoff.after(pause, lived_s=lived)
        assert pause == pytest.approx(min(10.0, 0.1 * 2**number))
    assert backoff.after(pause, lived_s=30.0) == 0.1


def test_ports_are_remembered_move_on_when_taken_and_explain_themselves(place: Path) -> None:
    ports = Ports(place / "ports.json")
    first = ports.pick("postgres")
    assert Ports(place / "ports.json").pick("postgres") == first
    assert ports.pick("valkey") != first
    with listen("127.0.0.1", first):
        assert ports.pick("postgres") not in (first, ports.pick("valkey"))
        with pytest.raises(PortTaken, match=f"port {first}"):
            ports.pick("postgres", first)
        with pytest.raises(PortTaken, match=rf"port {first} of 127\.0\.0\.1 is taken.*--port"):
            listen("127.0.0.1", first)
    with pytest.raises(PortTaken, match=r"cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    (place / "ports.json").write_text("{")
    assert ports.pick("postgres") > 0


async def test_a_full_disk_does_not_end_the_housekeeping(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    capped: list[Path] = []

    def cap(path: Path) -> None:
        if path.name != "one.log":
            return
        capped.append(path)
        if len(capped) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    stack = supervisor(data)
    monkeypatch.setattr("memoryd.embedded.supervisor._HOUSEKEEPING_S", 0.02)

    async def compose() -> None:
        await stack.start(python("one", READY + "time.sleep(60)"))
        monkeypatch.setattr("memoryd.embedded.supervisor.log.cap", cap)
        await until(lambda: len(capped) >= 2)
        monkeypatch.undo()
        stack.stop()

    await stack.run(compose)
    said = (data.logs / "supervisor.log").read_text()
    assert '"event": "housekeeping_failed", "error": "No space left on device"' in said


def test_logs_are_capped_in_place(place: Path) -> None:
    path = place / "child.log"
    with path.open("ab", buffering=0) as child:
        child.write(b"a" * 100)
        log.cap(path, 50)
        child.write(b"b" * 10)
    assert path.read_bytes() == b"b" * 10
    assert (place / "child.log.1").read_bytes() == b"a" * 100
    log.cap(path, 50)
    assert path.stat().st_size == 10
