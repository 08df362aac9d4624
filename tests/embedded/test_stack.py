"""Real PostgreSQL, Valkey and uvicorn, supervised in a process that is stopped and killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from memoryd.embedded import process
from memoryd.embedded.account import choose
from memoryd.embedded.datadir import read_state
from memoryd.embedded.programs import postgres_folder
from tests.embedded.running import ROOT, Stack, alive, environment, eventually


def insert(stack: Stack, number: int) -> None:
    with psycopg.connect(stack.said["postgres"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


def rows(stack: Stack) -> list[int]:
    with psycopg.connect(stack.said["postgres"]) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


def valkey(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(stack.said["valkey"], decode_responses=True)


def test_stop_and_start_keep_data_and_ports_and_leave_no_process(shared: Path) -> None:
    with Stack(shared / "d") as stack:
        insert(stack, 1)
        with valkey(stack) as client:
            client.set("kept", "yes")
            client.set("cut", "off")
        family = stack.family()
        assert len(family) > 5
        first = stack.said
        assert stack.end(signal.SIGINT) < 5.0
        assert stack.process.returncode == 0
        eventually(lambda: not alive(family), 2.0)
        state = read_state(stack.data)
        assert state is not None
        assert (state.state, state.alive) == ("stopped", False)
        assert {child.pid for child in state.children.values()} == {None}
    # A power cut may leave half of the last command.
    (written,) = (shared / "d" / "valkey" / "appendonlydir").glob("*.incr.aof")
    os.truncate(written, written.stat().st_size - 3)
    with Stack(shared / "d") as stack:
        assert 1 in rows(stack)
        with valkey(stack) as client:
            assert (client.get("kept"), client.get("cut")) == ("yes", None)
        assert (stack.said["postgres"], stack.said["valkey"]) == (first["postgres"], first["valkey"])
        # Passwords are for the servers, never for the process list.
        secret = stack.said["valkey"].split(":")[2].split("@")[0]
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert secret not in shown
        assert first["postgres"].split(":")[2].split("@")[0] not in shown


def test_second_start_on_the_same_directory_is_told_who_runs(shared: Path) -> None:
    with Stack(shared / "d") as stack:
        second = subprocess.run(
            [sys.executable, "-m", "tests.embedded.stack", str(shared / "d")],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        assert second.returncode == 1
        assert second.stderr.startswith("already_running: ")
        assert str(stack.process.pid) in second.stderr
        assert stack.url in second.stderr
        assert httpx.get(stack.url).status_code == 200


def test_killed_servers_come_back_with_what_was_committed(shared: Path) -> None:
    with Stack(shared / "d") as stack:
        insert(stack, 7)
        for name in ("postgres", "valkey"):
            killed = stack.pid(name)
            os.kill(killed, signal.SIGKILL)
            eventually(partial(stack.came_back, name, killed))
        assert 7 in rows(stack)
        with valkey(stack) as client:
            assert client.ping()
        state = read_state(stack.data)
        assert state is not None
        assert state.children["postgres"].restarts >= 1
        assert stack.process.poll() is None


def test_requests_never_hang_while_the_api_is_killed_or_stuck(shared: Path) -> None:
    with Stack(shared / "d") as stack, httpx.Client(timeout=5.0, headers={"Connection": "close"}) as client:
        first = client.get(stack.url).text
        for _ in range(3):
            killed = stack.pid("api")
            assert client.get(stack.url).text == str(killed)
            os.kill(killed, signal.SIGKILL)
            seen = set()
            until = time.monotonic() + 20
            while time.monotonic() < until:
                began = time.monotonic()
                try:
                    answer = client.get(stack.url)
                except httpx.TransportError:
                    answer = None  # it was with the child when that died; an answer would be a lie
                assert time.monotonic() - began < 4.0
                if answer is not None:
                    seen.add(answer.status_code)
                    if answer.status_code == 200:
                        break
                    assert answer.headers["retry-after"] == "1"
                    assert answer.json()["code"] == "unavailable"
            assert seen == {200, 503}
            assert answer is not None
            assert answer.text not in (first, str(killed))
        stuck = stack.pid("api")
        os.kill(stuck, signal.SIGSTOP)
        began = time.monotonic()
        assert client.get(stack.url).status_code == 503
        assert time.monotonic() - began < 4.0
        os.kill(stuck, signal.SIGCONT)
        eventually(lambda: client.get(stack.url).text == str(stuck), 5.0)


def test_start_after_the_supervisor_was_killed(shared: Path) -> None:
    with Stack(shared / "d") as stack:
        insert(stack, 3)
        family = stack.family()
        stack.end(signal.SIGKILL)
        if sys.platform.startswith("linux"):
            eventually(lambda: not alive(family), 10.0)  # the kernel told them
    with Stack(shared / "d") as stack:
        assert 3 in rows(stack)
        assert httpx.get(stack.url).status_code == 200


def test_start_past_an_orphaned_postmaster_and_past_a_reused_pid(shared: Path) -> None:
    with Stack(shared / "d") as stack:
        insert(stack, 5)
    account = choose(shared / "d" / "postgres")
    folder = postgres_folder(shared / "d" / "programs", account)
    pgdata = next((shared / "d" / "postgres").glob("[0-9]*"))
    user, group = (account.uid, account.gid) if account else (None, None)
    # A postmaster that state.json knows nothing of, as where the kernel has no parent-death signal.
    orphan = subprocess.Popen(
        [str(folder / "bin" / "postgres"), "-D", str(pgdata), "-clisten_addresses=", f"-cunix_socket_directories={pgdata}"],
        start_new_session=True, stderr=subprocess.DEVNULL, cwd="/", user=user, group=group,
    )  # fmt: skip
    eventually(lambda: (pgdata / "postmaster.pid").exists() and "ready" in (pgdata / "postmaster.pid").read_text())
    with Stack(shared / "d") as stack:
        assert orphan.wait(1) == 0  # stopped cleanly, not killed
        assert 5 in rows(stack)
    # After a reboot another program of the same user may have the number.
    sleeper = subprocess.Popen(["sleep", "60"], cwd="/", user=user, group=group)
    lines = [str(sleeper.pid), str(pgdata), "1700000000", "5432", "", "", "", "ready"]
    (pgdata / "postmaster.pid").write_text("\n".join(lines) + "\n")
    with Stack(shared / "d") as stack:
        assert 5 in rows(stack)
        assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_a_killed_initdb_leaves_nothing_that_looks_like_a_database(place: Path) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-m", "tests.embedded.stack", str(place / "d")],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    eventually(lambda: any((place / "d" / "postgres").glob(".new-*/base/1")))
    starting.kill()
    starting.wait()
    with Stack(place / "d") as stack:
        insert(stack, 1)
        assert [path.name for path in (place / "d" / "postgres").iterdir()] == ["18"]


def test_content_stays_out_of_the_servers_logs(shared: Path) -> None:
    with Stack(shared / "d") as stack, psycopg.connect(stack.said["postgres"], autocommit=True) as connection:
        connection.execute("CREATE TABLE unique_things (name text PRIMARY KEY)")
        connection.execute("INSERT INTO unique_things VALUES ('canary-1')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO unique_things VALUES (%s)", ("canary-1",))
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute("SELECT 'canary-2'::int")
        with pytest.raises(psycopg.errors.RaiseException):
            connection.execute("DO $$ BEGIN RAISE EXCEPTION 'canary-3'; END $$")
        for log in (shared / "d" / "logs").iterdir():
            assert "canary" not in log.read_text(), log.name
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)


def test_runs_as_an_ordinary_user(place: Path, as_root: None) -> None:
    interpreter = shutil.which("python3", path="/usr/bin")
    if interpreter is None or shutil.which("setpriv") is None:
        pytest.skip("needs setpriv and an interpreter outside root's home")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", interpreter]
    tried = subprocess.run(
        [*command, "-c", "import sys, uvicorn, memoryd.embedded.gate; assert sys.version_info >= (3, 11)"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode != 0:
        pytest.skip(f"an ordinary user cannot run this code here: {tried.stderr.strip()[-200:]}")
    os.chown(place, 65534, 65534)
    with Stack(place / "d", command=command, env=environment()) as stack:
        insert(stack, 9)  # root may use the socket of an ordinary user
        assert rows(stack) == [9]
        assert httpx.get(stack.url).status_code == 200
        assert (place / "d").stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_uid for path in (place / "d").rglob("*")} == {65534}
        family = stack.family()
        assert all(process.identity(pid) for pid in family)
        assert stack.end(signal.SIGTERM) < 5.0
        eventually(lambda: not alive(family), 2.0)
