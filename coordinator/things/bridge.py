"""The device bridge: what makes agents of devices that speak only MQTT.

Every coordinator is a bridge, and no thing has an owner. What things say is a work queue that all
share, what is known of them is a record each (``record``), and what is dispatched to them goes to a
queue group of all coordinators. So any of them may be killed at any moment. There are no timers
either: heartbeats, leases and in-progress acks are driven by the devices' own states, and the
grace after a last will by the broker. ``docs/mqtt.md`` says what devices must do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from nats.aio.subscription import Subscription

from bus import consumers
from bus.background import Background
from bus.client.brief import Brief
from bus.client.timing import unix_time
from bus.config import Layers
from bus.connection import Bus
from bus.subjects import TOKEN
from bus.transport import Handler, Inbound
from bus.wire import headers as h
from bus.wire.heartbeat import FleetPolicy
from coordinator.things.clock import Clock
from coordinator.things.commands import Commands
from coordinator.things.configuring import Configuring
from coordinator.things.desk import Desk
from coordinator.things.inbox import Inbox
from coordinator.things.living import is_thing
from coordinator.things.presence import Presence
from coordinator.things.records import Records
from coordinator.things.tasks import Tasks
from coordinator.things.telemetry import Readings
from coordinator.view import FleetView

log = logging.getLogger("fleetbus.coordinator")

ACK_WAIT: Final = 3.0
"""Seconds until what a thing said is given to another coordinator."""

QUEUE: Final = consumers.BRIDGE


class Things:
    """One coordinator's share of the bridge. Until a thing is heard of it is two subscriptions
    that nothing arrives on."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        view: FleetView,
        policy: Callable[[], FleetPolicy],
        layers: Callable[[], Layers],
        alive: Callable[[str], bool],
    ) -> None:
        """
        Args:
            me: the coordinator's id.
            policy: the fleet's, now.
            layers: the configuration in force; none while it is not known.
            alive: whether the coordinator with an id is there.
        """
        self._bus = bus
        self._background = Background(log, "looking for things")
        self._desk = Desk(bus, me, Records(bus), view, Clock(), policy, layers, alive, self._know)
        self._dispatches: dict[str, Subscription] = {}
        self._knowing = asyncio.Lock()
        self.tasks = Tasks(self._desk)
        self.configuring = Configuring(self._desk, self.known)
        self.presence = Presence(self._desk, self.tasks, self.configuring)
        self.commands = Commands(self._desk, self.tasks, self.known)
        readings = Readings(self._desk)
        self.inbox = Inbox(
            bus,
            self._desk.clock,
            {
                "announce": self.presence.on_announce,
                "state": self.presence.on_state,
                "gone": self.presence.on_gone,
                "bye": self.presence.on_bye,
                "result": self.tasks.on_result,
                "progress": self.tasks.on_progress,
                "telemetry": readings.on_telemetry,
                "reply": self.commands.on_reply,
            },
        )
        self._subscriptions: list[Subscription] = []
        self._awake = False
        self._stopping = False

    def known(self) -> dict[str, Subscription]:
        """All things that this coordinator has heard of, by id."""
        return self._dispatches

    async def start(self, ack_wait: float) -> None:
        """Begin to listen for things.

        Args:
            ack_wait: seconds until the broker gives a task to another.

        Raises:
            BusError, TimeoutError: the broker could not be asked.
        """
        bus, subjects = self._bus, self._bus.subjects
        self._desk.ack_wait = ack_wait
        await consumers.ensure_bridge(bus, ACK_WAIT)
        await self._set_clock()
        await self._listen(subjects.things_known, self._on_known)
        await bus.flush()
        await self._look()
        bus.reconnected.append(self._on_reconnect)
        await self._listen(subjects.things, self.inbox.on_message, QUEUE)

    def on_agent(self, card: Brief) -> None:
        """An agent has joined, or changed its card. One that is no thing and has the id of an
        old one must not have its dispatches answered here."""
        if card.agent in self._dispatches and not is_thing(card.labels):
            self._background.spawn(self._bus.unlisten(self._dispatches.pop(card.agent)))

    async def stop(self) -> None:
        """Take no more, and finish what was taken; the other coordinators go on. Without a broker,
        or with a caller who has no more patience, what is not finished is given up: it is handed
        out again.

        Raises:
            Disconnected: the broker did not answer.
        """
        if self._on_reconnect in self._bus.reconnected:
            self._bus.reconnected.remove(self._on_reconnect)
        self._stopping = True
        ending = [*self._subscriptions, *self._dispatches.values()]
        taken = (
            self.inbox.background,
            self.tasks.background,
            self.commands.background,
            self._background,
        )
        try:
            await self._background.cancel()
            for one in ending:
                await one.unsubscribe()
            # What the server has sent before it knew is dealt with here.
            await self._bus.flush()
            await asyncio.gather(*(one.settled() for one in taken))
        finally:
            for one in ending:
                self._bus.nc.forget(one)
            self._subscriptions.clear()
            self._dispatches.clear()
            for background in (*taken, self.configuring.background):
                await background.cancel()

    # the inside

    async def _listen(self, subject: str, handler: Handler, queue: str = "") -> None:
        self._subscriptions.append(await self._bus.listen(subject, handler, queue))

    async def _set_clock(self) -> None:
        """Ask the broker for its time. With a clock of our own that is wrong, all things would be
        late until the first of them says something."""
        info = await self._bus.api(f"STREAM.INFO.{self._bus.subjects.things_stream}")
        try:
            self._desk.clock.heard(round(unix_time(str(info.get("ts", ""))) * 1000))
        except ValueError as problem:
            log.warning("the server does not tell its time, ours is taken for it: %s", problem)

    async def _look(self) -> None:
        """Learn of all things that have a record."""
        async with self._knowing:
            async for thing, _ in self._desk.records.known():
                if TOKEN.fullmatch(thing) and not self._is_agent(thing):
                    await self._hear_of(thing)
            await self._bus.flush()

    async def _know(self, thing: str) -> None:
        """Listen to what is dispatched to a thing, and tell the other coordinators of it: one of
        them must be there if we die."""
        if thing in self._dispatches:
            return
        async with self._knowing:
            await self._hear_of(thing)
            self._bus.send(self._bus.subjects.thing_known(thing))
            await self._bus.flush()

    async def _hear_of(self, thing: str) -> None:
        if self._stopping or thing in self._dispatches:
            return
        subjects = self._bus.subjects
        if not self._awake:
            self._awake = True
            await self._listen(subjects.commands, self.commands.on_command, QUEUE)
            await self._listen(subjects.all_cancels, self.commands.on_cancel, QUEUE)
            await self._listen(subjects.configs, self.configuring.on_change, QUEUE)
        subject = subjects.dispatch(thing)
        self._dispatches[thing] = await self._bus.listen(subject, self._on_dispatch, QUEUE)

    def _is_agent(self, thing: str) -> bool:
        """True if an agent that is no thing has this id by now: a record is kept for days after
        a thing has left."""
        entry = self._desk.view.agents.get(thing)
        return entry is not None and not is_thing(entry.card.labels)

    def _on_known(self, message: Inbound) -> None:
        thing = message.subject.split(".")[3]
        if TOKEN.fullmatch(thing) and not self._is_agent(thing):
            self._background.spawn(self._hear(thing))

    async def _hear(self, thing: str) -> None:
        async with self._knowing:
            await self._hear_of(thing)

    def _on_reconnect(self) -> None:
        # Others may have come while nobody could tell us.
        self._background.spawn(self._look())

    def _on_dispatch(self, message: Inbound) -> None:
        if h.PROBE in message.headers:
            self._background.spawn(self._probed(message))
        else:
            self.tasks.on_dispatch(message)

    async def _probed(self, message: Inbound) -> None:
        thing = message.subject.rsplit(".", 1)[1]
        boot = await self.presence.is_there(thing)
        if message.reply:
            self._bus.send(message.reply, block=h.encode([(h.INCARNATION, boot)]))
