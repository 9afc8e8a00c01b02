"""What a device kept while its link was down, and how long it takes to the hub."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from typing import Final

import msgspec

from bench.harness.figures import Params, at_most
from bench.harness.processes import spawn
from bench.harness.scenario import Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bus import Bus, connect, store

MESSAGES: Final = 1000
LIMIT: Final = 10.0
"""Seconds from the reconnect."""


async def run(session: Session) -> None:
    """One device once a round."""
    plan = session.plan
    count = plan.count(MESSAGES, 100)
    params: Params = {"messages": count}
    for number in range(plan.rounds):
        session.step(f"round {number + 1} of {plan.rounds}")
        with tempfile.TemporaryDirectory() as folder:
            async with server() as made, connect(made.url, FLEET) as bus:
                role = ("-m", "bench.edge.spooling", made.url, FLEET, str(count), folder)
                child = await spawn(*role, stdin=True)
                try:
                    await child.tell("mend")
                    connected, emptied = map(float, (await child.line(60)).split())
                finally:
                    await child.stop()
                found = await _stored(bus)
        took = emptied - connected
        session.record(
            "all in the hub after",
            took,
            "s",
            better="lower",
            target=at_most(LIMIT * count / MESSAGES),
            params=params,
        )
        expected = range(count)
        wrong = {
            "missing": len(set(expected) - set(found)),
            "doubled": len(found) - len(set(found)),
            "out of order": sum(a > b for a, b in pairwise(found)),
        }
        for metric, value in wrong.items():
            session.record(
                metric, value, "messages", better="lower", target=at_most(0), params=params
            )
    session.note(
        "Readings of about 250 bytes in a spool on this machine's disk, each synced, sent at the "
        "agent's usual limit of 200 a second. From the moment at which the connection is back "
        "until the broker has acknowledged the last; what it has is then read and compared."
    )


async def _stored(bus: Bus) -> list[int]:
    subjects = bus.subjects
    return [
        msgspec.json.decode(one.data)["readings"][0][1]
        async for one in store.scan(bus, subjects.telemetry_stream, subjects.telemetries)
    ]


SCENARIO: Final = Scenario(
    name="edge-spool",
    summary="A thousand readings that an edge agent kept while its link was down: seconds from "
    "the reconnect until all are in the hub, in order, each once.",
    run=run,
    seconds=40,
    quick_seconds=4,
)
