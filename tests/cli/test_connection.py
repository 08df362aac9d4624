"""Which service is asked with which key, and how a command ends that the service refuses."""

from pathlib import Path
from uuid import UUID

import httpx
import pytest
from click.testing import CliRunner, Result

from memoryd.cli import connection
from memoryd.cli.main import cli
from memoryd.client import Retries
from tests.cli.conftest import Command
from tests.client.service import Service, problem

SPACES = httpx.Response(200, json={"spaces": [], "next_cursor": None})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config" / "memoryd" / "config.toml"
    file.parent.mkdir(parents=True)
    file.touch(0o600)
    return file


def run(config: Path, *arguments: str, **environment: str | None) -> Result:
    """A command with this file as its configuration, and nothing else in the environment."""
    names = ("MEMORYD_URL", "MEMORYD_KEY", "MEMORYD_API_KEY", "MEMORYD_PROFILE", "MEMORYD_DATABASE_URL", "MEMORYD_OPERATOR_KEY")
    env: dict[str, str | None] = {**dict.fromkeys(names), "XDG_CONFIG_HOME": str(config.parents[1])}
    return CliRunner().invoke(cli, arguments, env=env | environment, catch_exceptions=False)


def asked_as(service: Service) -> str:
    return service.asked[-1].headers["authorization"].removeprefix("Bearer ")


def test_a_profile_is_named_or_the_default(config: Path, url: str, service: Service) -> None:
    config.write_text(
        f'default = "work"\n[profiles.work]\nurl = "{url}"\nkey = "mdk_work"\n[profiles.home]\nurl = "{url}"\nkey = "mdk_home"\n'
    )
    service.answers = [SPACES] * 5
    for arguments, environment, key in (
        ((), {}, "mdk_work"),
        (("--profile", "home"), {}, "mdk_home"),
        ((), {"MEMORYD_PROFILE": "home"}, "mdk_home"),
        (("--profile", "home"), {"MEMORYD_URL": "http://127.0.0.1:9", "MEMORYD_KEY": "mdk_env"}, "mdk_home"),
        (("--profile", "home", "--key", "mdk_said"), {}, "mdk_said"),
    ):
        said = run(config, "spaces", "list", *arguments, **environment)
        assert (said.exit_code, said.stderr, asked_as(service)) == (0, "", key)


def test_the_environment_comes_before_the_default_profile(config: Path, url: str, service: Service) -> None:
    config.write_text('default = "work"\n[profiles.work]\nurl = "http://127.0.0.1:9"\nkey = "mdk_work"\n')
    service.answers = [SPACES] * 2
    assert run(config, "spaces", "list", MEMORYD_URL=url, MEMORYD_KEY="mdk_env").exit_code == 0
    assert asked_as(service) == "mdk_env"
    assert run(config, "spaces", "list", "--url", url, MEMORYD_API_KEY="mdk_old").exit_code == 0
    assert asked_as(service) == "mdk_old"


def test_a_profiles_key_is_for_its_url_alone(config: Path, url: str, service: Service) -> None:
    config.write_text('default = "work"\n[profiles.work]\nurl = "http://127.0.0.1:9"\nkey = "mdk_work"\n')
    for arguments, environment in ((("--url", url), {}), ((), {"MEMORYD_URL": url})):
        said = run(config, "spaces", "list", *arguments, **environment)
        assert said.exit_code == 2
        assert "MEMORYD_KEY" in said.stderr
    assert service.asked == []
    assert run(config, "spaces", "list", "--url", url, "--profile", "work").exit_code == 2


def test_the_environments_key_is_not_for_a_profile_elsewhere(config: Path, url: str, service: Service) -> None:
    config.write_text(f'[profiles.home]\nurl = "{url}"\n')
    service.answers = [SPACES] * 2
    mine = {"MEMORYD_KEY": "mdk_env", "MEMORYD_OPERATOR_KEY": "mdo_env"}
    for command in ("spaces", "tenants"):
        assert run(config, command, "list", "--profile", "home", **mine, MEMORYD_URL="http://127.0.0.1:9").exit_code == 2
    assert service.asked == []
    for elsewhere in (f"{url}/", None):
        assert run(config, "spaces", "list", "--profile", "home", **mine, MEMORYD_URL=elsewhere).exit_code == 0


def test_the_environments_key_is_not_for_an_option_that_says_another_service(config: Path, url: str, service: Service) -> None:
    mine = {"MEMORYD_KEY": "mdk_env", "MEMORYD_OPERATOR_KEY": "mdo_env"}
    for command in ("spaces", "tenants"):
        said = run(config, command, "list", "--url", url, **mine, MEMORYD_URL="http://127.0.0.1:9")
        assert said.exit_code == 2
        assert url in said.stderr
    assert service.asked == []
    service.answers = [SPACES] * 3
    for command, key in (("spaces", "--key"), ("tenants", "--operator-key")):
        given = ("--url", url, key, "mdk_given")
        assert run(config, command, "list", *given, **mine, MEMORYD_URL="http://127.0.0.1:9").exit_code in {0, 3}
        assert asked_as(service) == "mdk_given"


def test_a_proxy_is_not_told_the_key_of_this_machine(command: Command, service: Service) -> None:
    service.answers = [SPACES]
    proxy = "http://127.0.0.1:9"
    said = command("spaces", "list", HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy, NO_PROXY=None, no_proxy=None)
    assert (said.exit_code, said.stderr) == (0, "")


def test_a_file_that_others_can_read_is_warned_of(config: Path, url: str, service: Service) -> None:
    config.write_text(f'default = "work"\n[profiles.work]\nurl = "{url}"\nkey = "mdk_work"\n')
    config.chmod(0o640)
    service.answers = [SPACES] * 2
    said = run(config, "spaces", "list")
    assert said.exit_code == 0
    assert said.stderr == f"memoryd: warning: others can read the keys in {config}: chmod 600 {config}\n"
    config.write_text(f'default = "work"\n[profiles.work]\nurl = "{url}"\n')
    assert run(config, "spaces", "list", MEMORYD_KEY="mdk_env").stderr == "", "there is no key in it"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("default = ", ()),
        ('default = "none"', ()),
        ('[profiles.work]\nurl = "http://a"\nkeys = "mdk_secret"', ("--profile", "work")),
        ('[profiles.work]\nkey = "mdk_secret"', ("--profile", "work")),
        ('[profiles.work]\nurl = "http://a"\nkey = ["mdk_secret"]', ("--profile", "work")),
        ('[profiles.work]\nurl = "nonsense"\nkey = "mdk_secret"', ("--profile", "work")),
        ("", ("--profile", "work")),
    ],
)
def test_a_file_that_is_wrong(config: Path, text: str, arguments: tuple[str, ...]) -> None:
    config.write_text(text)
    said = run(config, "spaces", "list", *arguments)
    assert said.exit_code == 2
    assert "mdk_secret" not in said.output
    assert "Traceback" not in said.output


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "says"),
    [
        (401, "unauthenticated", 4, "MEMORYD_KEY"),
        (403, "forbidden", 4, "memoryd keys create"),
        (404, "not_found", 1, "because [not_found]"),
        (409, "conflict", 1, "because [conflict]"),
        (412, "precondition_failed", 1, "read it again"),
        (429, "inference_overloaded", 3, "too much is asked at once: try again in 7 s"),
        (500, "internal", 3, "request r-1"),
        (503, "store_unavailable", 3, "try again in 7 s"),
        (503, "model_not_found", 3, "does not pass by waiting"),
    ],
)
def test_what_is_said_of_a_refusal(
    command: Command, service: Service, monkeypatch: pytest.MonkeyPatch, status: int, code: str, exit_code: int, says: str
) -> None:
    monkeypatch.setattr(connection, "_IMPATIENT", Retries(attempts=1))
    service.answers = [problem(status, code, **({"Retry-After": "7"} if status in {429, 503} else {}))]
    said = command("spaces", "list")
    assert said.exit_code == exit_code
    assert said.stdout == ""
    (line,) = said.stderr.splitlines()
    assert line.startswith("memoryd: because")
    assert says in line
    assert line.endswith(f"[{code}]")


def test_fields_that_are_wrong_are_named(command: Command, service: Service) -> None:
    faults = [{"field": "memories.0.text", "message": "must not be blank"}, {"field": "x", "message": "is unknown"}]
    answer = {"status": 422, "code": "invalid_request", "detail": "2 faults", "errors": faults}
    service.answers = [httpx.Response(422, json=answer)]
    said = command("remember", "x")
    assert (said.exit_code, said.stderr) == (
        1,
        "memoryd: memories.0.text: must not be blank; x: is unknown [invalid_request]\n",
    )


def test_nobody_is_there(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_IMPATIENT", Retries(attempts=1))
    said = command("spaces", "list", MEMORYD_URL="http://127.0.0.1:9")
    assert said.exit_code == 3
    assert "http://127.0.0.1:9 does not answer" in said.stderr
    assert "memoryd up" in said.stderr


def test_doctor_of_a_service_elsewhere(command: Command, service: Service) -> None:
    ready = {
        "status": "ready",
        "checks": {"postgresql": {"ok": True, "required": True}, "redis": {"ok": False, "required": False}},
    }
    service.answers = [httpx.Response(200, json=ready), SPACES]
    said = command("doctor")
    assert said.exit_code == 0
    assert [line.split()[:2] for line in said.stdout.splitlines()] == [
        ["ok", "service"],
        ["ok", "postgresql"],
        ["ok", "redis"],
        ["ok", "key"],
    ]
    service.answers = [problem(503, "not_ready", "waiting for: redis"), problem(401, "unauthenticated")]
    said = command("doctor", "--json")
    assert said.exit_code == 1
    assert said.stdout.count('"ok": false') == 2
    said = command("doctor", "--url", "http://127.0.0.1:9", "--key", "mdk_key")
    assert (said.exit_code, said.stdout.split()[:2]) == (1, ["missing", "service"])


def test_doctor_without_anything(config: Path, tmp_path: Path) -> None:
    said = run(config, "doctor", "--data-dir", str(tmp_path / "none"))
    assert said.exit_code == 1
    assert said.stderr.endswith("start `memoryd up`, or set MEMORYD_DATABASE_URL\n")


@pytest.mark.parametrize(
    "arguments",
    [("tenants", "delete", "default", "--confirm", "default"), ("tenants", "list"), ("keys", "create", "acme")],
)
def test_the_operator_of_a_named_service_never_acts_on_another(config: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    work = '[profiles.work]\nurl = "http://127.0.0.1:9"\nkey = "mdk_work"\n'
    for text, environment in (
        ("", {"MEMORYD_URL": "http://127.0.0.1:9"}),
        (work, {"MEMORYD_PROFILE": "work"}),
        (f'default = "work"\n{work}', {}),
    ):
        config.write_text(text)
        said = run(config, *arguments, **environment)
        assert said.exit_code == 2
        assert "set MEMORYD_OPERATOR_KEY to the operator's key of http://127.0.0.1:9" in said.stderr
    said = run(config, *arguments, "--data-dir", str(tmp_path / "none"))
    assert "nothing runs on" in said.stderr, "a data directory that is named comes before"


@pytest.mark.parametrize(
    "arguments", [("list", "acme"), ("rotate", "acme", str(UUID(int=1))), ("revoke", "acme", str(UUID(int=1)))]
)
def test_keys_of_a_tenant_are_not_looked_for_elsewhere(config: Path, arguments: tuple[str, ...]) -> None:
    operator = {"MEMORYD_URL": "http://127.0.0.1:9", "MEMORYD_OPERATOR_KEY": "mdo_env"}
    for environment in (operator, {"MEMORYD_URL": "http://127.0.0.1:9"}):
        said = run(config, "keys", *arguments, **environment)
        assert said.exit_code == 2
        assert "without TENANT, or on the database" in said.stderr


def test_doctor_of_the_profile(config: Path, url: str, service: Service) -> None:
    config.write_text(f'default = "work"\n[profiles.work]\nurl = "{url}"\nkey = "mdk_work"\n')
    for environment in ({}, {"MEMORYD_PROFILE": "work"}):
        service.answers = [httpx.Response(200, json={"status": "ready", "checks": {}}), SPACES]
        said = run(config, "doctor", **environment)
        assert (said.exit_code, said.stdout.split()[:2], asked_as(service)) == (0, ["ok", "service"], "mdk_work")
