"""``python -m evals [parts] --url … --key …``: measures a running service, prints each table, and writes a report a part."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping

import httpx

from evals import options as command_line
from evals.beside import Beside
from evals.client import ApiError, open_pool
from evals.environment import describe
from evals.options import Options, Service
from evals.parts import Bench
from evals.report import Report, to_markdown, write

REFUSALS = (ApiError, FileNotFoundError, ValueError, TimeoutError, httpx.HTTPError)


async def measure(
    options: Options,
    service: Service,
    *,
    program: str = "python -m evals",
    beside: Beside | None = None,
    footprint: Callable[[], Mapping[str, float]] = dict,
) -> None:
    """Runs the parts in order. Each report is written as soon as its part is done."""
    async with open_pool() as pool:
        bench = Bench(options, service, pool, beside, footprint)
        for part in options.parts:
            environment = describe(program, sys.argv[1:], settings=beside.settings if beside else None)
            started = time.perf_counter()
            outcome = await bench.part(part)
            seconds = time.perf_counter() - started
            name = f"{part}-{options.name}" if options.name else part
            report = Report(name, environment, seconds, outcome.hashes, outcome.tables)
            write(report, options.out)
            print(to_markdown(report), flush=True)
            print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """0 when everything was measured, 1 with a message when the service or the data is not as needed."""
    options, service = command_line.parse()
    try:
        asyncio.run(measure(options, service))
    except REFUSALS as error:
        print(f"evals: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
