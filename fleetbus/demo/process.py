"""One process of the demo: ``python -m fleetbus.demo.process agent|coordinator URL FLEET NAME``.

An agent also takes its slots, its pause in seconds and the ledger's directory.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path


def main(role: str, url: str, fleet: str, name: str, *rest: str) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        FleetError: it could not start.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Imports are the larger part of a start: each role takes only its own.
    if role == "agent":
        from agent_runtime.runner import run
        from fleetbus.demo.agents import agent

        slots, pause, ledger = rest
        run([agent(name, int(slots), float(pause), Path(ledger))], url=url, fleet=fleet)
    else:
        from fleetbus.running import run as run_to_end

        run_to_end(_coordinate(url, fleet, name))


async def _coordinate(url: str, fleet: str, name: str) -> None:
    from coordinator import Coordinator

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Coordinator.connect(url, fleet, name=name):
        await stop.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
