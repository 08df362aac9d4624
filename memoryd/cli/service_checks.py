"""What ``memoryd doctor`` looks at of a service elsewhere."""

from dataclasses import dataclass

import click

from memoryd.cli.connection import Address
from memoryd.client import ClientError, Memoryd, MemorydProblem, Retries, Unauthenticated, Unreachable

# Who asks whether it answers wants to know, not to wait.
_ONCE = Retries(attempts=1)
_SOON_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``fix`` says what to do when it is not well."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def examine(address: Address) -> list[Check]:
    """Whether it answers, whether it is ready, and whether the key is one of its. Raises ``click.UsageError``."""
    try:
        service = Memoryd(address.url, address.key, retries=_ONCE, timeout_s=_SOON_S)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with service:
        try:
            checks = _readiness(service, address.url)
        except Unreachable as error:
            return [Check("service", False, f"{address.url}: {error}", "check the address, and that memoryd runs there")]
        return [*checks, _key(service, address.url)]


def _readiness(service: Memoryd, url: str) -> list[Check]:
    try:
        ready = service.ready()
    except Unreachable:
        raise
    except MemorydProblem as error:
        return [
            Check("service", False, f"{url} answers, and is not ready: {error.detail}", "run `memoryd doctor` on its machine")
        ]
    except ClientError as error:
        return [Check("service", False, f"{url}: {error}", "check the address")]
    found = [Check("service", True, f"{url} answers and is ready")]
    for name, check in ready.checks.items():
        detail = "there" if check.ok else "required" if check.required else "not there; the service works without it"
        found.append(Check(name, check.ok or not check.required, detail))
    return found


def _key(service: Memoryd, url: str) -> Check:
    try:
        spaces = sum(1 for _ in service.spaces.list())
    except Unauthenticated as error:
        return Check("key", False, error.detail, f"set MEMORYD_KEY to a key of {url}")
    except ClientError as error:
        return Check("key", False, str(error), "use a key with the action `read`")
    return Check("key", True, f"reads {spaces:,} space{'' if spaces == 1 else 's'}")
