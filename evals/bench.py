"""``python -m evals.bench [parts]``, which is ``make bench``: a memoryd of its own, measured beside the floor, and stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

from evals import options as command_line
from evals.__main__ import REFUSALS, measure
from evals.beside import open_beside
from evals.footprint import disk_mib, memory_mib
from evals.options import Options, Service
from evals.stack import NotStarted, Stack, running_stack
from memoryd.cli.stack import administered
from memoryd.settings import Settings


async def run(options: Options, stack: Stack, settings: Settings) -> None:
    """Everything, with the stores and the model of ``stack`` opened beside it."""

    def footprint() -> dict[str, float]:
        return memory_mib(stack.pids()) | {"disk": disk_mib(stack.data)}

    async with open_beside(settings) as beside:
        service = Service(stack.url, stack.key, stack.operator_key)
        await measure(options, service, program="python -m evals.bench", beside=beside, footprint=footprint)


def main() -> int:
    """0 when everything was measured, 1 with a message when not."""
    options, environment = command_line.parse_bench()
    # Ended by a signal, it still stops what it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    started = time.perf_counter()
    try:
        with running_stack(environment) as stack:
            print(f"memoryd is up after {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
            with administered(stack.data) as found:
                settings = Settings.model_validate(
                    found.model_dump() | {name.removeprefix("MEMORYD_").lower(): value for name, value in environment.items()}
                )
                asyncio.run(run(options, stack, settings))
    except (*REFUSALS, NotStarted) as error:
        print(f"evals: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"all: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
