"""Memories, sessions, spaces, keys and tenants against the whole of it: both clients, and the commands."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result

from memoryd.cli.main import cli
from memoryd.client import (
    AsyncMemoryd,
    Conflict,
    Filters,
    Forbidden,
    Gone,
    Memoryd,
    NewMemory,
    NewMessage,
    NewTurn,
    NotFound,
    Question,
    Reranking,
    SessionSettings,
    Unauthenticated,
)
from tests.embedded.up import Up

NOON = datetime(2025, 5, 8, 12, tzinfo=UTC)


@pytest.fixture
def memoryd(up: Up) -> Iterator[Memoryd]:
    with Memoryd(up.said.url, up.said.api_key) as client:
        yield client


@pytest.fixture
async def later(up: Up) -> AsyncIterator[AsyncMemoryd]:
    async with AsyncMemoryd(up.said.url, up.said.api_key) as client:
        yield client


@pytest.fixture
def space() -> str:
    return f"space-{uuid4().hex[:8]}"


class Command:
    """``memoryd …`` with this key; the configuration of who runs the tests is out of it."""

    def __init__(self, up: Up, folder: Path) -> None:
        self._up, self._folder = up, folder

    def __call__(self, *arguments: str, text: str | None = None, key: str | None = None) -> Result:
        env = {
            "MEMORYD_URL": self._up.said.url,
            "MEMORYD_KEY": key or self._up.said.api_key,
            "XDG_CONFIG_HOME": str(self._folder),
        }
        env["MEMORYD_OPERATOR_KEY"] = self._up.said.operator_key
        return CliRunner().invoke(cli, arguments, env=env, input=text, catch_exceptions=False)


@pytest.fixture
def command(up: Up, tmp_path: Path) -> Command:
    return Command(up, tmp_path)


def test_what_is_remembered_is_recalled_changed_and_forgotten(memoryd: Memoryd, space: str) -> None:
    tea = NewMemory("Maya drinks green tea.", space=space, user_id="maya", topics=["drinks"], event_time=NOON, metadata={"n": 1})
    written = memoryd.remember(tea, NewMemory("Noor climbs on Sundays.", space=space))
    assert [one.status for one in written] == ["created", "created"]
    assert memoryd.remember(tea)[0].status == "duplicate"
    asked = Question("What does Maya drink?", spaces=[space], filters=Filters(user_id="maya", metadata={"n": 1}), explain=True)
    (hit,) = memoryd.recall(asked).hits
    assert (hit.id, hit.event_time, hit.topics) == (written[0].id, NOON, ["drinks"])
    assert hit.explain is not None

    packed = memoryd.context(asked, budget_tokens=200, must_include=[written[0].id])
    assert "green tea" in packed.text
    assert packed.used_tokens <= 200
    assert packed.items[0].handle

    changed = memoryd.memories.update(written[0].id, {"text": "Maya drinks black tea."}, reason="told", revision=1)
    assert changed.revision == 2
    with pytest.raises(Conflict):
        memoryd.memories.update(written[0].id, {"topics": []}, revision=1)
    memoryd.forget(written[0].id, reason="asked for")
    assert [one.text for one in memoryd.memories.list(space=space)] == ["Noor climbs on Sundays."]
    assert [one.action for one in memoryd.memories.history(written[0].id)] == ["deleted", "updated", "created"]
    assert memoryd.memories.revert(written[0].id, 1).text == "Maya drinks green tea."
    memoryd.forget(written[0].id, purge=True)
    with pytest.raises(NotFound):
        memoryd.memories.get(written[0].id)


async def test_turns_in_an_event_loop(later: AsyncMemoryd, space: str) -> None:
    turns = [NewTurn(f"Turn {number} of the talk about falcons.", name="Maya", event_time=NOON) for number in range(3)]
    await later.remember_turns(turns, space=space, session_id="talk")
    filters = Filters(session_id="talk", kinds=["episodic"], event_before=datetime(2025, 6, 1, tzinfo=UTC))
    found = [one.text async for one in later.memories.list(space=space, filters=filters)]
    assert found == [one.content for one in turns]
    assert len((await later.recall(Question("falcons", spaces=[space], limit=2))).hits) == 2


def test_a_session_from_its_first_message_to_its_end(memoryd: Memoryd, space: str) -> None:
    name, sessions = f"s {uuid4().hex[:8]} ü?", memoryd.sessions
    first = sessions.append(name, NewMessage("user", "Find me a falcon.", id="m-1"), NewMessage("assistant", "Yes."), space=space)
    assert [one.position for one in first.results] == [1, 2]
    assert sessions.append(name, NewMessage("user", "Find me a falcon.", id="m-1")).results[0].status == "duplicate"
    assert sessions.put_state(name, "plan", {"step": 1}, absent=True).version == 1
    mark = sessions.checkpoint(name, label="before", step=1)
    sessions.put_state(name, "plan", {"step": 2}, version=1)
    with pytest.raises(Conflict):
        sessions.put_state(name, "plan", {"step": 3}, version=1)
    assert sessions.put_effect(name, "mail", "sent").created
    assert sessions.put_effect(name, "mail", "again").value == sessions.get_effect(name, "mail").value == "sent"
    sessions.append(name, NewMessage("user", "Never mind."))
    done = sessions.restore(name, mark.id)
    assert done.set_aside == 1
    assert sessions.get_state(name, "plan").value == {"step": 1}
    assert [one.content for one in sessions.messages(name)] == ["Find me a falcon.", "Yes."]
    assert [one.content for one in sessions.newest(name, 1)] == ["Yes."]
    assert done.undo in {one.id for one in sessions.checkpoints(name)}
    assert sessions.get_checkpoint(name, mark.id).state is not None
    assert "falcon" in sessions.context(name, budget_tokens=100).text
    assert sessions.configure(name, ttl_s=600, auto_commit="off").ttl_s == 600
    assert sessions.commit(name).created == 2
    assert {one.text for one in memoryd.memories.list(space=space)} == {"Find me a falcon.", "Yes."}
    assert sessions.snapshot(name).id in {one.id for one in sessions.snapshots(name)}
    assert name in {one.id for one in sessions.list()}
    sessions.delete_state(name, "plan")
    assert sessions.state(name) == []
    sessions.delete(name)
    with pytest.raises((NotFound, Gone)):
        sessions.get(name)


async def test_messages_are_heard_as_they_come(later: AsyncMemoryd, memoryd: Memoryd) -> None:
    name = f"s-{uuid4().hex[:8]}"
    await later.sessions.append(name, NewMessage("user", "one"))
    async with aclosing(later.sessions.events(name, after=0)) as events:
        heard = []
        async for event in events:
            assert event.message is not None
            heard.append(event.message.content)
            if len(heard) == 1:
                await later.sessions.append(name, NewMessage("user", "two"))
            else:
                break
    assert heard == ["one", "two"]
    await later.sessions.delete(name)


def test_keys_of_a_tenant_of_its_own(up: Up) -> None:
    name = f"t-{uuid4().hex[:8]}"
    with Memoryd(up.said.url, up.said.operator_key) as operator:
        made = operator.tenants.create(name)
        assert made.key.key is not None
        with Memoryd(up.said.url, made.key.key) as admin:
            assert admin.ready().checks["postgresql"].ok
            admin.spaces.create("team", description="of all")
            assert [one.name for one in admin.spaces.list()] == ["default", "team"]
            assert admin.spaces.update("team", rerank=Reranking(depth=5)).rerank == {"depth": 5}
            reader = admin.keys.create("reader", actions=["read"], spaces=["team"])
            assert reader.key is not None
            with Memoryd(up.said.url, reader.key) as confined:
                assert [one.name for one in confined.spaces.list()] == ["team"]
                with pytest.raises(Forbidden):
                    confined.remember("No.")
                successor = admin.keys.rotate(reader.id)
                with pytest.raises(Unauthenticated):
                    list(confined.spaces.list())
            admin.keys.revoke(successor.id)
            made_keys = [one.object_ids for one in admin.audit.list(action="key.create", since=NOON)]
            assert [reader.id] in made_keys
            assert list(admin.audit.list(until=NOON)) == []
            assert admin.sessions.settings() == SessionSettings()
            changed = SessionSettings(auto_commit="idle", idle_s=60)
            assert admin.sessions.replace_settings(changed) == admin.sessions.settings() == changed
            ended = {one.id for one in admin.keys.list() if one.revoked_at is not None}
            assert ended == {reader.id, successor.id}
        assert operator.tenants.suspend(made.id).suspended_at is not None
        operator.tenants.suspend(made.id, suspended=False)
        assert operator.tenants.create_key(made.id, "way back", actions=["admin"]).key
        operator.tenants.delete(made.id, confirm=name)
        assert made.id not in {one.id for one in operator.tenants.list()}
        did = {one.action for one in operator.audit.of_operator(tenant_id=made.id)}
        assert {"tenant.create", "tenant.suspend", "tenant.delete"} <= did


def test_the_commands_of_memory(command: Command, space: str) -> None:
    said = command("remember", "-", "--space", space, "--user", "maya", "--json", text="Maya keeps a falcon.\n")
    one = json.loads(said.stdout)["id"]
    lines = json.dumps({"text": "Noor keeps an owl."}) + "\n" + json.dumps({"text": "Maya keeps a falcon.", "user_id": "maya"})
    said = command("remember", "--jsonl", "-", "--space", space, text=lines)
    assert (said.exit_code, said.stdout) == (0, "1 created, 1 duplicates\n")
    said = command("recall", "Who keeps a falcon?", "--space", space, "-k", "1")
    assert (said.exit_code, said.stderr) == (0, "")
    assert "Maya keeps a falcon." in said.stdout
    assert one in said.stdout
    assert json.loads(command("recall", "falcon", "--space", space, "--user", "noor", "--json").stdout)["hits"] == []
    said = command("context", "Who keeps a falcon?", "--space", space, "--budget", "120")
    assert "Maya keeps a falcon." in said.stdout
    handle = json.loads(command("context", "falcon", "--space", space, "--budget", "120", "--json").stdout)["items"][0]["handle"]
    assert command("expand", handle, "--budget", "300").exit_code == 0
    assert command("forget", one).stdout == f"{one} forgotten\n"
    assert "falcon" not in command("recall", "falcon", "--space", space).stdout
    assert one not in command("memories", "list", "--space", space).stdout
    assert [row.split()[1] for row in command("memories", "history", one).stdout.splitlines()[1:]] == ["deleted", "created"]
    assert command("memories", "revert", one, "1").exit_code == 0
    assert "Maya keeps a falcon." in command("memories", "show", one).stdout
    assert one in command("memories", "list", "--space", space, "--user", "maya").stdout
    assert space in command("spaces", "list").stdout


def test_the_commands_of_sessions(command: Command, space: str) -> None:
    name = f"s-{uuid4().hex[:8]}"
    assert command("session", "append", name, "Find me", "a falcon.", "--space", space, "--user", "maya").exit_code == 0
    assert command("session", "append", name, "-", "--role", "assistant", text="Which?").stdout == f"{name}: message 2 created\n"
    shown = command("session", "messages", name).stdout
    assert "Find me a falcon." in shown
    assert [
        json.loads(one)["position"] for one in command("session", "messages", name, "--after", "1", "--json").stdout.splitlines()
    ] == [2]
    assert "Which?" in command("session", "context", name, "--budget", "200").stdout
    assert command("session", "set", name, "plan", '{"step": 1}').stdout == f"{name}: plan has version 1\n"
    assert command("session", "state", name, "plan").stdout == '{"step": 1}\n'
    assert command("session", "set", name, "plan", "two", "--version", "7").exit_code == 1
    assert "plan" in command("session", "state", name).stdout
    mark = json.loads(command("session", "checkpoint", name, "--label", "here", "--json").stdout)["id"]
    command("session", "append", name, "Never mind.")
    said = command("session", "restore", name, mark)
    assert f"{name}: 1 messages set aside" in said.stdout
    assert str(UUID(said.stdout.split()[-1])) in command("session", "checkpoints", name).stdout
    assert mark in command("session", "checkpoints", name).stdout
    assert command("session", "unset", name, "plan").exit_code == 0
    assert command("session", "commit", name).stdout == "2 created, 0 duplicates, 0 passed over\n"
    assert name in command("session", "list", "--user", "maya").stdout
    assert "maya" in command("session", "show", name).stdout
    assert command("session", "delete", name, "--yes").exit_code == 0
    said = command("session", "show", name)
    assert said.exit_code == 1
    assert said.stderr.startswith("memoryd: ")


def test_the_commands_of_the_operator_over_rest(command: Command, up: Up) -> None:
    name = f"t-{uuid4().hex[:8]}"
    made = json.loads(command("tenants", "create", name, "--json").stdout)
    assert {"name": name, "state": "active"}.items() <= json.loads(
        next(one for one in command("tenants", "list", "--json").stdout.splitlines() if name in one)
    ).items()
    reader = json.loads(command("keys", "create", "--action", "read", "--name", "reader", "--json", key=made["key"]).stdout)
    assert "reader" in command("keys", "list", key=made["key"]).stdout
    assert reader["key"] not in command("keys", "list", "--json", key=made["key"]).stdout
    assert command("keys", "list", key=reader["key"]).exit_code == 4
    successor = json.loads(command("keys", "rotate", reader["id"], "--json", key=made["key"]).stdout)
    assert command("spaces", "list", key=reader["key"]).exit_code == 4
    assert command("keys", "revoke", successor["id"], key=made["key"]).stdout == "revoked\n"
    assert command("keys", "create", name).stdout.endswith("(shown this once)\n")
    assert command("tenants", "suspend", name).stdout == f"{name} is suspended\n"
    assert command("spaces", "list", key=made["key"]).exit_code == 4
    assert json.loads(command("tenants", "suspend", name, "--resume", "--json").stdout)["state"] == "active"
    assert command("tenants", "delete", name, "--confirm", "other").exit_code == 1
    assert command("tenants", "delete", name, "--confirm", name).exit_code == 0
    assert command("tenants", "suspend", name).exit_code == 1
    said = command("doctor")
    assert said.exit_code == 0
    assert {line.split()[1] for line in said.stdout.splitlines()} >= {"service", "postgresql", "key"}
