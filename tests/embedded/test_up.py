"""``memoryd up`` and the commands beside it, as their user sees them: real servers, real models, processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from memoryd.models import pull_models
from memoryd.settings import Settings
from tests.embedded.running import ROOT, alive, environment, eventually
from tests.embedded.up import CHILDREN, Up
from tests.support_models import model_cache

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_ANSWER_S = 7.0  # the database's five seconds, and two for a busy machine
_WORD = "quokkaberry"


@pytest.fixture(scope="module")
def running(shared: Path) -> Iterator[Callable[[], Up]]:
    """The installation of this module, started when it is not running: starting takes longer than most tests."""
    started: list[Up] = []

    def up() -> Up:
        if not started or started[-1].process.poll() is not None:
            started.append(Up(shared / "d").__enter__())
        return started[-1]

    yield up
    for one in started:
        one.__exit__(None, None, None)


def client(up: Up, key: str | None = None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key or up.said.api_key}"}
    return httpx.Client(base_url=up.said.url, headers=headers, timeout=2 * _ANSWER_S)


def remember(up: Up, text: str) -> str:
    with client(up) as http:
        answer = http.post("/v1/memories", json={"memories": [{"text": text, "external_id": text}]})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["results"][0]["id"])


def recalled(up: Up, query: str) -> list[str]:
    with client(up) as http:
        answer = http.post("/v1/recall", json={"query": query, "arms": ["lexical"]})
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_says_where_it_is_and_is_ready(running: Callable[[], Up]) -> None:
    up = running()
    assert up.said.pid == up.process.pid == up.state.pid
    assert up.said.url == up.state.url
    assert up.stderr == ""
    with client(up) as http:
        assert http.get("/readyz").status_code == 200
        assert http.get("/v1/memories").status_code == 200
        operator = {"Authorization": f"Bearer {up.said.operator_key}"}
        tenants = http.get("/v1/admin/tenants", headers=operator).json()["tenants"]
        assert [tenant["name"] for tenant in tenants][:1] == ["default"]
        assert http.post("/v1/recall", json={"query": "heron", "arms": ["lexical"]}).status_code == 200
    eventually((up.data / "run" / "asked").exists, 5.0)
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert up.said.api_key not in shown
    assert up.said.operator_key not in shown
    for log in (up.data / "logs").iterdir():
        assert up.said.api_key not in log.read_text(), log.name
        assert up.said.operator_key not in log.read_text(), log.name


def test_a_second_up_says_who_runs_and_leaves_it_alone(running: Callable[[], Up]) -> None:
    up = running()
    second = up.run("up", "--port", "0", "--print-json")
    assert (second.returncode, second.stdout) == (1, "")
    (line,) = second.stderr.splitlines()
    assert str(up.said.pid) in line
    assert up.said.url in line
    assert str(up.data) in line
    assert up.process.poll() is None
    with client(up) as http:
        assert http.get("/readyz").status_code == 200


def test_a_taken_port_is_one_line(running: Callable[[], Up], place: Path) -> None:
    other = Up(place / "d", port=httpx.URL(running().said.url).port or 0)
    other.launch()
    assert other.process.wait(20) == 1
    (line,) = other.stderr.splitlines()
    assert "is taken by another program" in line


def test_status_and_doctor(running: Callable[[], Up], place: Path) -> None:
    up = running()
    status = up.run("status")
    assert (status.returncode, status.stderr) == (0, "")
    head, *children = status.stdout.splitlines()
    assert head.startswith(f"running at {up.said.url} (pid {up.said.pid}) since ")
    assert [line.split()[:4] for line in children] == [[name, "ready", "pid", str(up.pid(name))] for name in CHILDREN]
    assert json.loads(up.run("status", "--json").stdout)["children"].keys() == set(CHILDREN)
    doctor = up.run("doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    marks = {line.split()[1]: line.split()[0] for line in doctor.stdout.splitlines()}
    looked_at = ("models", "reranker", "postgresql", "pgvector", "role", "schema", "generation", "redis", "worker")
    assert marks == dict.fromkeys(looked_at, "ok")
    nothing = Up(place / "none")
    status, doctor = nothing.run("status"), nothing.run("doctor")
    assert (status.returncode, status.stdout) == (1, f"nothing runs on {place / 'none'}\n")
    assert doctor.returncode == 1
    assert "memoryd up" in doctor.stderr
    assert not (place / "none").exists()


def test_tenants_and_keys_from_the_command_line(running: Callable[[], Up]) -> None:
    up = running()
    made = up.run("tenants", "create", "acme", "--json")
    assert made.returncode == 0, made.stderr
    first = json.loads(made.stdout)["key"]
    again = up.run("tenants", "create", "acme")
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    assert "acme" in again.stderr
    listed = [json.loads(line) for line in up.run("tenants", "list", "--json").stdout.splitlines()]
    assert [(tenant["name"], tenant["state"]) for tenant in listed] == [("default", "active"), ("acme", "active")]

    reader = up.run("keys", "create", "acme", "--name", "reader", "--action", "read").stdout.split()[0]
    assert _may(up, first) == (200, 201)
    assert _may(up, reader) == (200, 403)
    assert _may(up, reader[:-1] + ("A" if reader[-1] != "A" else "B")) == (401, 401)

    shown = up.run("keys", "list", "acme")
    assert first not in shown.stdout
    assert reader not in shown.stdout
    (line,) = (line for line in shown.stdout.splitlines() if line.endswith("reader"))
    key_id = line.split()[0]
    rotated = up.run("keys", "rotate", "acme", key_id)
    assert rotated.returncode == 0, rotated.stderr
    successor = rotated.stdout.split()[0]
    assert _may(up, reader) == (401, 401)
    assert _may(up, successor) == (200, 403)

    (line,) = (
        line for line in up.run("keys", "list", "acme").stdout.splitlines() if line.endswith("reader") and key_id not in line
    )
    assert up.run("keys", "revoke", "acme", line.split()[0]).stdout == "revoked\n"
    assert _may(up, successor) == (401, 401)
    assert _may(up, first) == (200, 201)
    way_back = up.run("keys", "create", "acme", "--action", "admin").stdout.split()[0]
    assert up.run("tenants", "delete", "acme", "--confirm", "default").returncode == 1
    assert _may(up, first) == (200, 201)
    gone = up.run("tenants", "delete", "acme", "--confirm", "acme")
    assert (gone.returncode, gone.stdout.split()[0]) == (0, "acme"), gone.stderr
    assert [_may(up, key) for key in (first, way_back)] == [(401, 401)] * 2
    assert up.run("keys", "list", "acme").returncode == 1
    assert up.run("tenants", "create", "acme").returncode == 0, "the name is free again"
    unknown = up.run("keys", "list", "nobody")
    assert (unknown.returncode, unknown.stdout, len(unknown.stderr.splitlines())) == (1, "", 1)


def _may(up: Up, key: str) -> tuple[int, int]:
    """What a key's holder gets for reading and for writing."""
    with client(up, key) as http:
        read = http.get("/v1/memories").status_code
        return read, http.post("/v1/memories", json={"memories": [{"text": "Acme has an office."}]}).status_code


def test_requests_while_postgres_dies_again_and_again(running: Callable[[], Up]) -> None:
    up = running()
    memory = remember(up, _WORD)
    seen: set[int] = set()
    with client(up) as http:
        until = time.monotonic() + 40
        while seen != {503} and time.monotonic() < until:
            pid = up.pid("postgres")
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            seen = {_status(http, memory)}
        assert seen == {503}
        eventually(lambda: _status(http, memory) == 200, 30.0)
    assert recalled(up, _WORD) == [memory]
    eventually(up.ready, 30.0)


def _status(http: httpx.Client, memory: str) -> int:
    began = time.monotonic()
    answer = http.get(f"/v1/memories/{memory}")
    assert time.monotonic() - began < _ANSWER_S
    if answer.status_code != 200:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text
        assert answer.json()["code"] in {"store_unavailable", "unavailable"}
    return answer.status_code


def test_ctrl_c_ends_everything_and_a_restart_has_everything(running: Callable[[], Up]) -> None:
    up = running()
    memory = remember(up, f"{_WORD} jam")
    family = up.family()
    assert len(family) > len(CHILDREN) + 3  # PostgreSQL's own processes too
    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does
    assert up.process.wait(20) == 0
    eventually(lambda: not alive(family), 10.0)
    assert up.stderr == ""
    assert up.run("status").returncode == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(up.said.url)
    again = running()
    assert (again.said.api_key, again.said.operator_key) == (up.said.api_key, up.said.operator_key)
    assert memory in recalled(again, "jam")


@pytest.mark.parametrize("moment", ["initdb", "bootstrap", "api"])
def test_ctrl_c_while_it_starts(place: Path, moment: str) -> None:
    up = Up(place / "d")
    up.launch()
    sign = {
        "initdb": lambda: any((place / "d" / "postgres").glob(".new-*/base/1")),
        "bootstrap": lambda: _servers_ready(up),
        "api": lambda: (place / "d" / "run" / "state.json").exists() and "api" in up.state.children,
    }[moment]
    eventually(sign, 60.0)
    family = up.family() if moment == "api" else []
    up.process.send_signal(signal.SIGINT)
    up.process.wait(20)
    assert "Traceback" not in up.stderr
    eventually(lambda: not alive(family), 10.0)
    assert {child.pid for child in up.state.children.values()} <= {None}


def _servers_ready(up: Up) -> bool:
    """PostgreSQL and Valkey serve, and the database is being prepared, or was."""
    if not (up.data / "run" / "state.json").exists():
        return False
    children = up.state.children
    return all(name in children and children[name].state == "ready" for name in ("postgres", "valkey"))


def test_postgres_dies_while_the_database_is_prepared(place: Path) -> None:
    up = Up(place / "d")
    up.launch()
    eventually(lambda: _servers_ready(up), 60.0)
    time.sleep(0.1)
    postgres = up.pid("postgres")
    assert postgres is not None
    os.kill(postgres, signal.SIGKILL)
    up.said = up.announced()
    eventually(up.ready, 10.0)
    with client(up) as http:
        assert http.get("/readyz").status_code == 200
    assert up.end(signal.SIGTERM) < 10
    assert up.process.returncode == 0
    assert "Traceback" not in up.stderr


def test_works_for_an_ordinary_user(place: Path, as_root: None) -> None:
    command = _as_nobody()
    pull_models(Settings(model_cache=model_cache()), print)
    shutil.copytree(model_cache(), place / "models")
    os.chown(place, 65534, 65534)
    env = environment() | {"MEMORYD_MODEL_CACHE": str(place / "models"), "HOME": str(place)}
    with Up(place / "d", command=command, env=env) as up:
        memory = remember(up, _WORD)
        assert recalled(up, _WORD) == [memory]
        assert up.run("status").returncode == 0
        assert up.run("tenants", "list").returncode == 0
        assert {path.stat().st_uid for path in (place / "d").rglob("*")} == {65534}
        family = up.family()
        assert {(Path("/proc") / str(pid)).stat().st_uid for pid in family} == {65534}
        assert up.end(signal.SIGINT) < 10
        eventually(lambda: not alive(family), 10.0)


def _as_nobody() -> list[str]:
    """An interpreter run as an unprivileged user: the system's, or else this one, which may lie in root's home.

    To reach that, the user gets the one capability to read what is closed to it; it still owns and writes nothing there.
    """
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    tries = [[*user, "/usr/bin/python3"], [*user, *may_read, sys.executable]]
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    for command in tries:
        tried = subprocess.run(
            [*command, "-c", "import sys, memoryd.cli, memoryd.stores.redis; assert sys.version_info >= (3, 11)"],
            cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if tried.returncode == 0:
            return command
    pytest.skip(f"an ordinary user cannot run this code here: {tried.stderr.strip()[-200:]}")
