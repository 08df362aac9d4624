"""The data directory: made once, locked, checked, and clear about what is wrong with it."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from memoryd.embedded.account import Account, obstacle
from memoryd.embedded.datadir import DataDir, attached, default_path, opened, read_state
from memoryd.embedded.errors import AlreadyRunning, DataDirTooNew, DataDirUnusable, EmbeddedError
from memoryd.embedded.postgres import PostgresServer


def test_secrets_are_made_once_and_kept_to_oneself(place: Path) -> None:
    with opened(place / "d") as data:
        first = data.credentials
        assert len({getattr(first, name) for name in first.__slots__}) == 6
        assert data.secrets.stat().st_mode & 0o777 == 0o700
        for path in data.secrets.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.stat().st_uid == os.geteuid()
        assert first.valkey not in repr(data)
    with opened(place / "d") as data:
        assert data.credentials == first


def test_a_relative_one_is_the_same_for_who_administrates(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq takes ``host=d/run/pg`` for the name of a host."""
    with opened(place / "d") as data:
        monkeypatch.chdir(place)
        beside = attached(Path("d"))
        assert (beside.path, beside.postgres) == (data.path, data.postgres)
        assert PostgresServer(beside, port=1).url("u", "p", "d") == PostgresServer(data, port=1).url("u", "p", "d")


def test_only_the_way_through_is_open_to_the_servers_user(place: Path, as_root: None) -> None:
    with opened(place / "d") as data:
        assert data.account is not None
        assert obstacle(data.run / "pg" if (data.run / "pg").exists() else data.run, data.account) is None
        for closed in (data.secrets, data.logs, data.blobs):
            assert obstacle(closed, data.account) == closed
        assert data.path.stat().st_mode & 0o777 == 0o711
        assert data.postgres.stat().st_uid == data.account.uid
        assert stat.S_IMODE(data.postgres.stat().st_mode) == 0o700


def test_second_opening_is_refused_until_the_first_ends(place: Path) -> None:
    with opened(place / "d"), pytest.raises(AlreadyRunning) as refused, opened(place / "d"):
        pass
    assert (refused.value.pid, refused.value.code) == (None, "already_running")
    with opened(place / "d"):
        pass


def test_a_killed_owner_does_not_keep_the_lock(place: Path) -> None:
    code = """
import os, pathlib, sys
from memoryd.embedded.datadir import opened
with opened(pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", code, str(place / "d")], check=False)
    assert killed.returncode == -9
    with opened(place / "d"):
        pass


def test_a_folder_of_other_things_is_left_alone(place: Path) -> None:
    (place / "thesis.txt").write_text("")
    with pytest.raises(DataDirUnusable, match="not a memoryd data directory"), opened(place):
        pass
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


def test_a_path_through_a_file_is_explained(place: Path) -> None:
    (place / "file").write_text("")
    for path in (place / "file" / "d", place / "file"):
        with pytest.raises(DataDirUnusable, match="file"), opened(path):
            pass


def test_a_closed_parent_is_named_with_the_way_out(place: Path, as_root: None) -> None:
    (place / "closed").mkdir(mode=0o700)
    with pytest.raises(DataDirUnusable, match=f"may not enter {place / 'closed'}.*chmod o\\+x"), opened(place / "closed" / "d"):
        pass


def test_what_a_newer_version_wrote_is_not_touched(place: Path) -> None:
    with opened(place / "d"):
        pass
    (place / "d" / "memoryd.json").write_text(json.dumps({"format": 99, "memoryd": "9.9"}))
    with pytest.raises(DataDirTooNew, match=r"9\.9"), opened(place / "d"):
        pass
    (place / "d" / "memoryd.json").write_text("")  # cut short by a crash
    with opened(place / "d") as data:
        _refuses_major(data, 99, DataDirTooNew)
        _refuses_major(data, 9, EmbeddedError)


def _refuses_major(data: DataDir, major: int, error: type[EmbeddedError]) -> None:
    (data.postgres / str(major)).mkdir()
    with pytest.raises(error, match=str(major)):
        PostgresServer(data, port=1).prepare()
    (data.postgres / str(major)).rmdir()


def test_a_long_path_gets_a_short_socket_folder_again_and_again(place: Path) -> None:
    deep = place / ("long" * 30)
    for _ in range(2):
        with opened(deep) as data:
            folder = data.socket_folder()
            assert len(os.fsencode(folder)) < 80
            assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    with opened(place / "d") as data:
        assert data.socket_folder() == data.run / "pg"


def test_binaries_out_of_the_servers_reach_are_copied(place: Path, as_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from memoryd.embedded import programs

    hidden = place / "hidden"
    (hidden / "pginstall" / "bin").mkdir(parents=True)
    hidden.chmod(0o700)
    (hidden / "pginstall" / "bin" / "postgres").write_text("#!/bin/sh\n")
    (hidden / "pginstall" / "bin" / "postgres").chmod(0o700)
    monkeypatch.setattr(programs, "_package", lambda name: hidden)
    (place / "copies").mkdir()
    account = Account("nobody", 65534, 65534)
    folder = programs.postgres_folder(place / "copies", account)
    assert folder.parent == place / "copies"
    assert obstacle(folder / "bin" / "postgres", account) is None
    assert programs.postgres_folder(place / "copies", account) == folder
    assert programs.postgres_folder(place / "copies", None) == hidden / "pginstall"


def test_default_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_path() == Path("/var/lib/memoryd")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/x")
    assert default_path() == Path("/x/memoryd")


def test_no_state_yet_or_half_of_one(place: Path) -> None:
    assert read_state(place) is None
    (place / "run").mkdir()
    (place / "run" / "state.json").write_text('{"pid": 1, "children": {"a": 1}}')
    assert read_state(place) is None
