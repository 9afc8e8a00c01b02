"""``python -m bench``: figures against floors, in one run, on an embedded server."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import msgspec
import uvloop

from bench import calls, dispatch, failover, idle
from bench.bare_server import bare_server
from bench.report import Row, table
from bus.server import NatsServer
from bus.testing import fleet
from bus.version import VERSION

SCENARIOS = ("dispatch", "call", "failover", "idle")


async def run(chosen: list[str], rounds: int, scale: float) -> list[Row]:
    """Run the scenarios one after the other, each on a server of its own."""
    rows: list[Row] = []
    for name in chosen:
        print(f"{name} …", flush=True)
        async with NatsServer() as server, fleet(server.url, "bench"):
            match name:
                case "dispatch":
                    rows += await dispatch.run(server.url, rounds, scale)
                case "call":
                    rows += await calls.run(server.url, rounds, scale)
                case "failover":
                    rows += await failover.run(server.url, True, rounds)
                case "idle":
                    rows += await idle.run(server.url, rounds)
        if name == "failover":
            async with bare_server() as url, fleet(url, "bench"):
                rows += await failover.run(url, False, 1)
    return rows


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each (default 3)")
    parser.add_argument("--quick", action="store_true", help="a smoke test: small and once")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    given = parser.parse_args()
    unknown = set(given.scenario) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; known are {', '.join(SCENARIOS)}")
    rounds, scale = (1, 0.05) if given.quick else (given.rounds, 1.0)
    rows = uvloop.run(run(given.scenario or list(SCENARIOS), rounds, scale))
    print(f"\nfleetbus {VERSION}, python {platform.python_version()}, {platform.machine()}\n")
    print(table(rows))
    if given.json:
        Path(given.json).write_bytes(msgspec.json.format(msgspec.json.encode(rows)))


if __name__ == "__main__":
    main()
