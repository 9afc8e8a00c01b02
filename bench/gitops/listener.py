"""Hears the heartbeats of a fleet: who has said first when that it has which configuration."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

import msgspec

from bench.harness.servers import FLEET
from bus import Bus, connect
from bus.subjects import HEAD
from bus.transport import Inbound


class _Beat(msgspec.Struct, frozen=True, gc=False):
    """What of a heartbeat matters here."""

    agent: str
    seq: int
    config: str = ""
    commit: str = ""


_DECODER: Final = msgspec.json.Decoder(_Beat)


class Listener:
    """Everybody who listens to ``hb.*.*``. Times are seconds of the monotonic clock."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.missed = 0
        """Heartbeats that never came: numbers that were left out."""
        self.head_at = 0.0
        """When a head was heard last."""
        self.first: dict[tuple[str, str], float] = {}
        """By agent and hash: when the agent has said first that it has it."""
        self._seq: dict[str, int] = {}
        self._commits: dict[str, str] = {}

    async def start(self) -> Self:
        """Begin to listen."""
        subjects = self.bus.subjects
        await self.bus.listen(subjects.heartbeats, self._on_beat)
        await self.bus.listen(subjects.config(HEAD), self._on_head)
        await self.bus.flush()
        return self

    def at(self, commit: str) -> int:
        """How many agents said last that they have ``commit``, of which the first digits do."""
        return sum(1 for one in self._commits.values() if one and commit.startswith(one))

    def _on_head(self, _: Inbound) -> None:
        self.head_at = time.monotonic()

    def _on_beat(self, message: Inbound) -> None:
        now = time.monotonic()
        beat = _DECODER.decode(message.data)
        agent = beat.agent
        self.missed += beat.seq - self._seq.get(agent, beat.seq - 1) - 1
        self._seq[agent] = beat.seq
        self._commits[agent] = beat.commit
        self.first.setdefault((agent, beat.config), now)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Listener]:
    """A listener with a connection of its own.

    Raises:
        ConnectError: the server is not there.
    """
    async with connect(url, FLEET) as bus:
        yield await Listener(bus).start()
