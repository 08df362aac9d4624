"""How a command ends that could not be done: one line that says what to do, and an exit status. docs/cli.md lists them."""

import sys
from typing import NoReturn

import click

from memoryd.cli.shown import prose, seconds
from memoryd.client import (
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    MemorydProblem,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    Unsayable,
)
from memoryd.client.errors import LASTING

REFUSED = 1
"""The service said no, or a part failed."""
USAGE = 2
"""The command line says something that cannot be."""
LATER = 3
"""No answer, or none now: the same command may work later."""
NO_RIGHT = 4
"""The key is missing, unknown, or may not do this."""
INTERRUPTED = 130


def end(line: str, status: int) -> NoReturn:
    """Say it on standard error, and end the command."""
    click.echo(f"memoryd: {prose(line)}", err=True)
    sys.exit(status)


def refused(error: ClientError, url: str) -> tuple[str, int]:
    """What is said of an error of the service at ``url``, and the exit status."""
    match error:
        case Unreachable():
            said = f"{url} does not answer ({error}): is memoryd running there? Start it (`memoryd up`), or set MEMORYD_URL"
            return f"{said} [unreachable]", LATER
        case UnexpectedAnswer():
            return f"{url}: {error} [unexpected_answer]", LATER
        case Unauthenticated():
            return f"{error.detail}; set MEMORYD_KEY (or MEMORYD_API_KEY) to a key of {url} [{error.code}]", NO_RIGHT
        case Forbidden():
            return f"{error.detail}; use a key that may: an admin makes one with `memoryd keys create` [{error.code}]", NO_RIGHT
        case Unavailable():
            return _unavailable(error), LATER
        case Conflict(status=412):
            return f"{error.detail}; it was changed meanwhile: read it again [{error.code}]", REFUSED
        case InvalidRequest(faults=faults) if faults:
            wrong = "; ".join(f"{one.field}: {one.message}" for one in faults)
            return f"{wrong} [{error.code}]", REFUSED
        case MemorydProblem():
            return f"{error.detail} [{error.code}]", REFUSED
        case Unsayable():
            return str(error), USAGE
        case _:
            return str(error), REFUSED


def _unavailable(error: MemorydProblem) -> str:
    if error.status == 500:
        return f"{error.detail}; request {error.request_id} in the service's log says more [{error.code}]"
    if error.code in LASTING:
        return f"{error.detail}; it does not pass by waiting: whoever runs the service must mend it [{error.code}]"
    when = "later" if error.retry_after_s is None else f"in {seconds(error.retry_after_s)}"
    what = "too much is asked at once" if error.status == 429 else "the service cannot do it now"
    return f"{error.detail}; {what}: try again {when} [{error.code}]"
