"""One link and the agents on it: who is to come, who has come, and how they come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

from bench.harness.errors import BenchError
from bench.simulated.agent import KINDS, SimulatedAgent
from bench.simulated.layers import SharedLayers
from bench.simulated.link import FIRST_SID, Link
from bench.simulated.timers import Timers
from bus import codec
from bus.backoff import full_jitter
from bus.selectors import Selector
from bus.settings import BusSettings
from bus.subjects import Subjects
from bus.wire import headers as h
from bus.wire.command import Command
from bus.wire.heartbeat import FleetPolicy

RETRY: Final = 0.02
"""Seconds between tries of a link whose server is gone. The agents on it have their own delays,
counted from the moment at which the server is back."""

_FIRST_PLACE: Final = -(-FIRST_SID // KINDS)


class Carrier:
    """A link with agents on it."""

    def __init__(
        self,
        url: str,
        subjects: Subjects,
        numbers: Sequence[int],
        timers: Timers,
        on_registered: Callable[[], None],
        on_lost: Callable[[int], None],
        seed: int,
    ) -> None:
        """``numbers`` of the agents. ``on_registered`` is told of each that is registered, and
        ``on_lost`` how many of those are no more because the link broke."""
        self.subjects = subjects
        self.timers = timers
        self.rng = random.Random(seed)
        self.on_registered = on_registered
        self._tell_lost = on_lost
        self.now = asyncio.get_running_loop().time
        self.beats = self.tasks = self.probes = 0
        self.refused = 0
        """Registrations and questions that the broker did not take at the first try."""
        self.fetches = 0
        """How often an agent has asked for its layers."""
        self.dropped = 0
        """Writes to the configuration that could not be read."""
        self.called_dead = 0
        """How often an agent was told that it is lost."""
        self.layers = SharedLayers(subjects.fleet)
        self.link = Link(url, f"simulated:{numbers[0]}", self._on_message, self._on_lost)
        self.agents = [
            SimulatedAgent(number, place + _FIRST_PLACE, self)
            for place, number in enumerate(numbers)
        ]
        self._settings = BusSettings()
        self._policies: dict[bytes, FleetPolicy] = {}
        self._ttls: dict[int, bytes] = {}
        self._commands: dict[bytes, tuple[Command, Selector]] = {}
        self._returning: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Close the link; nobody says goodbye."""
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)
        self.link.close()

    # what agents share: each reads the same bytes, so they are read once

    def policy(self, data: bytes) -> FleetPolicy:
        """The policy in ``data``."""
        found = self._policies.get(data)
        if found is None:
            found = self._policies[data] = codec.decode(FleetPolicy, data, "fleet policy")
        return found

    def command(self, data: bytes) -> tuple[Command, Selector]:
        """The command in ``data``, and its selector."""
        found = self._commands.get(data)
        if found is None:
            command = codec.decode(Command, data, "command")
            self._commands.clear()
            found = self._commands[data] = (command, Selector.parse(command.selector))
        return found

    def ttl(self, lease: int) -> bytes:
        """The headers of a lease of so many seconds."""
        found = self._ttls.get(lease)
        if found is None:
            found = self._ttls[lease] = h.encode([(h.TTL, f"{lease}s")])
        return found

    # the inside

    def _on_message(self, sid: int, reply: bytes, block: bytes, data: bytes) -> None:
        place, kind = divmod(sid, KINDS)
        self.agents[place - _FIRST_PLACE].on_message(kind, reply, block, data)

    def _on_lost(self) -> None:
        self._tell_lost(sum(1 for agent in self.agents if agent.registered))
        for agent in self.agents:
            agent.cut_off()
        self._returning = asyncio.create_task(self._return())

    async def _return(self) -> None:
        lost_at = self.now()
        while not self.link.up:
            await asyncio.sleep(RETRY)
            try:
                await self.link.connect()
            except (OSError, TimeoutError, BenchError):
                continue  # not yet, or too busy to greet in time
        down = self.now() - lost_at
        s, rng = self._settings, self.rng
        for agent in self.agents:
            # When its own connection would have tried for the first time after that.
            at, tries = 0.0, 0
            while at <= down:
                at += full_jitter(tries, s.reconnect_min, s.reconnect_max, rng)
                tries += 1
            self.timers.at(lost_at + at, agent.come_back)
