"""A process full of simulated agents: ``python -m bench.simulated.process URL FLEET FIRST COUNT``.

It obeys lines on its standard input and answers with one line of JSON each:

``join``    begin to join the fleet, as fast as the server answers
``settle``  within some seconds, move heartbeats and renewals to where they are after a long life:
            ``settle SECONDS``
``stance``  how one in so many takes a change of its configuration, by the rest of its number:
            ``stance deaf 20 3``
``report``  nothing but the answer: a ``Report``
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from typing import Final

import msgspec
import uvloop

from bench.simulated.agent import SimulatedAgent
from bench.simulated.carrier import Carrier
from bench.simulated.configured import Stance
from bench.simulated.report import Report
from bench.simulated.timers import Timers
from bus.subjects import Subjects

AGENTS_PER_LINK: Final = 1000
"""A real agent has a connection of its own. The server's work for the fleet is that of its
subscriptions and messages; what connections cost it (about 50 KB and two goroutines each) is
not in the picture."""

JOINING: Final = 256
"""Agents that are about to join at any time: more would only wait within this process."""


class SimulatedFleet:
    """All agents of this process."""

    def __init__(self, url: str, fleet: str, first: int, count: int) -> None:
        self._timers = Timers()
        numbers = range(first, first + count)
        self._carriers = [
            Carrier(
                url,
                Subjects(fleet),
                numbers[start : start + AGENTS_PER_LINK],
                self._timers,
                self._on_registered,
                self._on_lost,
                seed=first + start,
            )
            for start in range(0, count, AGENTS_PER_LINK)
        ]
        self._count = count
        self._to_join: Iterator[SimulatedAgent] = iter(())
        self._registered = 0
        self._first_at = 0.0
        self._all_at = 0.0

    async def connect(self) -> None:
        """Open all links.

        Raises:
            OSError, TimeoutError: the server does not answer.
        """
        for carrier in self._carriers:
            await carrier.link.connect()

    async def stop(self) -> None:
        """Close all links."""
        self._timers.stop()
        for carrier in self._carriers:
            await carrier.stop()

    def join(self) -> None:
        """Begin to join."""
        self._first_at = time.monotonic()
        # One of each link in turn, or the links would be used one after the other.
        places = range(max(len(carrier.agents) for carrier in self._carriers))
        self._to_join = (
            carrier.agents[place]
            for place in places
            for carrier in self._carriers
            if place < len(carrier.agents)
        )
        for _ in range(JOINING):
            self._join_next()

    def settle(self, within: float) -> None:
        """Move what is planned to where it is after a long life."""
        for carrier in self._carriers:
            for agent in carrier.agents:
                agent.settle(within)

    def stance(self, stance: Stance, every: int, rest: int) -> None:
        """Have one in ``every`` agents, those whose number leaves ``rest``, take changes so."""
        for carrier in self._carriers:
            for agent in carrier.agents:
                if agent.number % every == rest:
                    agent.configured.stance = stance

    def report(self) -> Report:
        """How it stands."""
        late, self._timers.late = self._timers.late, 0.0
        every = self._carriers
        return Report(
            agents=self._count,
            registered=self._registered,
            first_at=self._first_at,
            all_at=self._all_at,
            beats=sum(one.beats for one in every),
            tasks=sum(one.tasks for one in every),
            probes=sum(one.probes for one in every),
            refused=sum(one.refused for one in every),
            fetches=sum(one.fetches for one in every),
            dropped=sum(one.dropped for one in every),
            called_dead=sum(one.called_dead for one in every),
            sent=sum(one.link.sent for one in every),
            received=sum(one.link.received for one in every),
            late=late,
        )

    # the inside

    def _join_next(self) -> None:
        agent = next(self._to_join, None)
        if agent is not None:
            agent.join()

    def _on_registered(self) -> None:
        self._registered += 1
        if self._registered == self._count:
            self._all_at = time.monotonic()
        self._join_next()

    def _on_lost(self, registered: int) -> None:
        if self._all_at:
            self._first_at, self._all_at = time.monotonic(), 0.0
        self._registered -= registered


async def main(url: str, fleet: str, first: int, count: int) -> None:
    """Obey until the standard input ends."""
    simulated = SimulatedFleet(url, fleet, first, count)
    await simulated.connect()
    # What it has made lives as long as it does: no collection need look at it.
    gc.collect()
    gc.freeze()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    try:
        while line := (await reader.readline()).decode().strip():
            verb, _, argument = line.partition(" ")
            match verb:
                case "join":
                    simulated.join()
                case "settle":
                    simulated.settle(float(argument))
                case "stance":
                    stance, every, rest = argument.split()
                    simulated.stance(msgspec.convert(stance, Stance), int(every), int(rest))
            print(msgspec.json.encode(simulated.report()).decode(), flush=True)
    finally:
        await simulated.stop()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
