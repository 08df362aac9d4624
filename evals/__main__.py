"""``python -m evals PART --url … --key …``: measures, prints each table, and writes a report a part."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack

from evals import options as command_line
from evals.client import ApiError, Client
from evals.environment import describe
from evals.options import Options
from evals.parts import Bench, Outcome
from evals.report import Report, to_markdown, write


async def measure(options: Options) -> None:
    """Runs the parts in order. Each report is written as soon as its part is done."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(options.url, options.key))
        operator = None
        if options.operator_key:
            operator = await stack.enter_async_context(Client(options.url, options.operator_key))
        bench = Bench(options, client, operator)
        for part in options.parts:
            environment = describe(sys.argv[1:])
            started = time.perf_counter()
            outcome = await run_part(bench, part)
            report = Report(part, environment, outcome.hashes, outcome.tables)
            write(report, options.out)
            print(to_markdown(report))
            print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr)


async def run_part(bench: Bench, part: str) -> Outcome:
    """The tables of the part of that name."""
    match part:
        case "quality":
            return await bench.quality()
        case "context":
            return await bench.context()
        case "latency":
            return await bench.latency()
        case "writes":
            return await bench.writes()
        case "filtered":
            return await bench.filtered()
        case _:
            raise ValueError(f"no part named {part!r}")


def main() -> int:
    """0 when everything was measured, 1 with a message when the service or the data is not as needed."""
    options = command_line.parse()
    try:
        asyncio.run(measure(options))
    except (ApiError, FileNotFoundError, ValueError) as error:
        print(f"evals: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
