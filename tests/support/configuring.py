"""Writes a fleet's configuration, and hears and asks what agents make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bus import Bus, codec, store
from bus.client import config
from bus.connection import Bus as Connection
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire.command import Command, Reply
from bus.wire.config import ConfigHead, ConfigLayer, ConfigReport
from bus.wire.event import Event
from bus.wire.heartbeat import Heartbeat


class Desk:
    """An operator of the test's fleet."""

    def __init__(self, bus: Connection) -> None:
        self.bus: Bus = bus
        self.beats: dict[str, Heartbeat] = {}
        """The last of each agent."""
        self.events: list[Event] = []
        """About configurations, oldest first."""
        self.replies: list[Reply] = []
        self.texts: list[bytes] = []
        """All that agents have sent."""
        self._inbox = bus.nc.new_inbox()

    async def start(self) -> Desk:
        await self.bus.listen(self.bus.subjects.heartbeats, self._on_beat)
        await self.bus.listen(self.bus.subjects.event("config.*", "*"), self._on_event)
        await self.bus.listen(self._inbox, self._on_reply)
        await self.bus.flush()
        return self

    async def put(self, name: str, values: dict[str, Any] | None, selector: str = "") -> int:
        """Write a layer as somebody without Git does; None deletes it."""
        layer = None if values is None else ConfigLayer(values, selector)
        now = await config.current(self.bus)
        return await config.put(self.bus, name, layer, now.revisions.get(f"layer.{name}", 0))

    async def commit(self, commit: str, **layers: dict[str, Any] | None) -> int:
        """Write layers as a sync from Git does; ``_`` in a name stands for a dot."""
        now = await config.current(self.bus)
        changes = {
            name.replace("_", "."): None if values is None else ConfigLayer(values, commit=commit)
            for name, values in layers.items()
        }
        return await config.commit(self.bus, changes, ConfigHead(commit), now)

    async def garbage(self, key: str, data: bytes) -> None:
        """Write what is no layer."""
        await store.publish(self.bus, self.bus.subjects.config_keys + key, data)

    async def ask(
        self, agent: str, verb: str, args: Mapping[str, Any] | None = None, by: str = "ann"
    ) -> Reply:
        """The last reply of one agent to a command."""
        self.replies.clear()
        command = Command("id-1", verb, dict(args or {}), issued_by=by)
        subject = self.bus.subjects.command_agent(agent)
        self.bus.send(subject, codec.encode(command), self._inbox)
        await eventually(lambda: self.replies and self.replies[-1].state != "accepted")
        return self.replies[-1]

    async def report(self, agent: str) -> ConfigReport:
        """What it answers to ``config``."""
        reply = await self.ask(agent, "config")
        assert reply.state == "ok", reply.error
        return codec.decode(ConfigReport, codec.encode(reply.output))

    async def says(self, agent: str, **fields: Any) -> Heartbeat:
        """Its heartbeat, once it has these fields."""

        def fits() -> bool:
            beat = self.beats.get(agent)
            seen = {name: getattr(beat, name, None) for name in fields}
            assert seen == fields
            return True

        await eventually(fits)
        return self.beats[agent]

    def _on_beat(self, message: Inbound) -> None:
        self.texts.append(message.data)
        beat = codec.decode(Heartbeat, message.data)
        self.beats[beat.agent] = beat

    def _on_event(self, message: Inbound) -> None:
        self.texts.append(message.data)
        self.events.append(codec.decode(Event, message.data))

    def _on_reply(self, message: Inbound) -> None:
        self.texts.append(message.data)
        self.replies.append(codec.decode(Reply, message.data))
