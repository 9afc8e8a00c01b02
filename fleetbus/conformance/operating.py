"""The suite as an operator: commands, configuration and the fleet policy."""

from __future__ import annotations

import itertools
import os
from typing import Any

from bus import codec, store
from bus.connection import Bus
from bus.errors import DecodeError
from bus.subjects import HEAD, LAYERS, POLICY
from bus.wire import headers as h
from bus.wire.command import Command, Reply
from bus.wire.config import ConfigHead, ConfigLayer
from bus.wire.heartbeat import FleetPolicy
from fleetbus.conformance.check import Failed, equal
from fleetbus.conformance.record import Record, Seen

ISSUER = "suite@conformance"


class Asked:
    """A command that was sent, and the replies to it."""

    def __init__(self, record: Record, command: Command, inbox: str, agent: str) -> None:
        self.inbox = inbox
        self.command = command
        self._record = record
        self._agent = agent

    @property
    def replies(self) -> list[Reply]:
        """Those that came by now."""
        return [self._read(one) for one in self._record.all(self.inbox)]

    async def last(self, timeout: float | None = None) -> Reply:
        """The one that is not ``accepted``.

        Raises:
            Failed: none came in time.
        """
        what = f"a reply to the command {self.command.verb}"
        seen = await self._record.first(
            what, self.inbox, 0, lambda one: self._read(one).state != "accepted", timeout
        )
        reply = self._read(seen)
        equal("the reply's agent", reply.agent, self._agent)
        equal("the reply's command", reply.command, self.command.id)
        return reply

    async def ok(self, timeout: float | None = None) -> Any:
        """The output.

        Raises:
            Failed: the reply is not ``ok``.
        """
        reply = await self.last(timeout)
        if reply.state != "ok":
            raise Failed(
                f"state ok in reply to {self.command.verb}", f"{reply.state}: {reply.error}"
            )
        return reply.output

    async def rejected(self) -> str:
        """The error.

        Raises:
            Failed: the reply is not ``rejected``, or has none.
        """
        reply = await self.last()
        equal(f"the state in reply to {self.command.verb}", reply.state, "rejected")
        if not reply.error:
            raise Failed("an error that says why", "an empty one")
        return reply.error

    def _read(self, seen: Seen) -> Reply:
        if seen.status == "503":
            raise Failed("the agent listens for commands", "503: nobody does")
        try:
            return codec.decode(Reply, seen.data)
        except DecodeError as problem:
            raise Failed("a Reply", f"{problem}: {seen}") from None


class Operating:
    """Commands and configuration of one fleet."""

    def __init__(self, bus: Bus, record: Record, agent: str) -> None:
        self._bus = bus
        self._record = record
        self._agent = agent
        self._inbox = bus.nc.new_inbox()
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        """Listen for replies."""
        await self._bus.listen(f"{self._inbox}.>", self._record.add)

    def ask(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        *,
        selector: str = "",
        expires_ms: int = 0,
        subject: str = "",
    ) -> Asked:
        """Send a command, to the agent itself unless ``subject`` says otherwise."""
        number = next(self._numbers)
        command = Command(f"cmd-{number}", verb, args or {}, selector, ISSUER, expires_ms)
        inbox = f"{self._inbox}.{number}"
        to = subject or self._bus.subjects.command_agent(self._agent)
        self._bus.send(to, codec.encode(command), inbox)
        return Asked(self._record, command, inbox, self._agent)

    async def policy(self, policy: FleetPolicy) -> None:
        """Write the fleet policy, as coordinators do."""
        await store.publish(
            self._bus, self._bus.subjects.config_keys + POLICY, codec.encode(policy)
        )

    async def layer(self, name: str, values: dict[str, Any] | None, selector: str = "") -> None:
        """Write one layer, or delete it with None."""
        if values is None:
            await self.garbled(f"{LAYERS}{name}", b"", [("KV-Operation", "DEL")])
        else:
            layer = ConfigLayer(values, selector, by=ISSUER)
            await self.garbled(f"{LAYERS}{name}", codec.encode(layer))

    async def garbled(
        self, key: str, data: bytes, fields: list[tuple[str, str]] | None = None
    ) -> None:
        """Write anything to a key of the bucket."""
        block = h.encode(fields) if fields else b""
        await store.publish(self._bus, self._bus.subjects.config_keys + key, data, block)

    async def batch(self, layers: dict[str, dict[str, Any]], commit: str = "") -> None:
        """Write layers in one atomic batch as a sync does, and the head too if there is a
        ``commit``. Without one it is a sync that was interrupted."""
        writes = [
            (f"{LAYERS}{name}", codec.encode(ConfigLayer(values, by=ISSUER)))
            for name, values in layers.items()
        ]
        if commit:
            writes.append((HEAD, codec.encode(ConfigHead(commit, by=ISSUER))))
        batch = os.urandom(8).hex()
        for number, (key, data) in enumerate(writes, 1):
            fields = [("Nats-Batch-Id", batch), ("Nats-Batch-Sequence", str(number))]
            subject = self._bus.subjects.config_keys + key
            if number < len(writes):
                self._bus.send(subject, data, "", h.encode(fields))
            else:
                block = h.encode([*fields, ("Nats-Batch-Commit", "1")])
                answer = await self._bus.request(subject, data, block)
                store.acknowledgement(self._bus, subject, answer)
