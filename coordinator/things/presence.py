"""Things come, live and go: registry, heartbeats and events, as an agent's own runtime has them."""

from __future__ import annotations

import logging
import time
from typing import Final

from bus import codec, store
from bus.client import records, registry
from bus.wire import headers as h
from bus.wire.thing import ThingAnnounce, ThingGone, ThingHello, ThingState
from coordinator.things import living, mqtt
from coordinator.things.configuring import Configuring
from coordinator.things.desk import Desk
from coordinator.things.living import Refused
from coordinator.things.record import Holding, Record
from coordinator.things.tasks import Tasks
from coordinator.things.word import Word

log = logging.getLogger("fleetbus.coordinator")

GRACE: Final = 1.0
"""Seconds that a device has to come back, at the least: MQTT clients wait that long before they
connect again."""

QUIET: Final = 60.0
"""Seconds between two log lines about a thing that there are two of."""

MOST: Final = 10_000
"""Things that this is remembered of; all are forgotten when there are more."""


class Presence:
    """What is done when a thing says something of itself."""

    def __init__(self, desk: Desk, tasks: Tasks, configuring: Configuring) -> None:
        self._desk = desk
        self._tasks = tasks
        self._configuring = configuring
        self._quiet: dict[str, float] = {}
        """By thing: until when nothing more is said of its twin, on the monotonic clock."""

    async def on_announce(self, word: Word, said: ThingAnnounce) -> None:
        """It has connected.

        Raises:
            Refused: it may not be an agent.
            BusError, TimeoutError: something was not stored.
        """
        desk, thing = self._desk, word.thing
        living.check(said)
        await self._check_agent(thing)
        # Before it has a card: what is dispatched to it then must find somebody.
        await desk.know(thing)
        news, record, revision = await desk.records.change(
            thing, lambda old: living.announced(old, thing, said, word.sequence, word.at_ms)
        )
        if news is None:
            return
        desk.give_back(thing, news.given_back, all_of_it=False)
        if news.twin:
            self._tell_of_twins(thing, record)
        await self._register(thing, record)
        if news.news:
            log.info("thing %s %s, boot %s", thing, news.news, record.boot)
            unique = f"joined:{thing}:{record.boot}" if news.news == "joined" else ""
            await self._tell(news.news, thing, record, unique)
        desk.beat(thing, record, revision)
        hello = ThingHello(record.boot, desk.clock.now(), desk.busy_every)
        await mqtt.send(desk.bus, thing, "hello", hello)
        await self._tasks.send_again(thing, record, news.again)
        await self._configuring.heal(thing, record)

    async def on_state(self, word: Word, said: ThingState) -> None:
        """It lives.

        Raises:
            BusError, TimeoutError: something was not stored.
        """
        desk, thing = self._desk, word.thing
        lease = desk.policy().lease
        news, record, revision = await desk.records.change(
            thing, lambda old: living.stated(old, said, word.sequence, word.at_ms, lease)
        )
        if news is None:
            await word.ask_who(desk.bus)
            return
        await desk.know(thing)
        desk.extend(news.alive)
        if news.renew:
            await self._register(thing, record)
        desk.beat(thing, record, revision)
        for task, job in news.overdue.items():
            await self._tasks.expire(thing, task, job)
        await self._tasks.send_again(thing, record, news.again)
        await self._configuring.heal(thing, record)

    async def on_gone(self, word: Word, said: ThingGone) -> float | None:
        """The broker has published its will. Seconds after which it is to be handed out again,
        since it may come back; None if it was dealt with.

        Raises:
            BusError, TimeoutError: something was not stored.
        """
        desk, thing = self._desk, word.thing
        if word.delivered == 1:
            doubted, record, revision = await desk.records.change(
                thing, lambda old: living.doubted(old, said.boot, word.sequence, word.at_ms)
            )
            if not doubted:
                return None
            desk.beat(thing, record, revision)
            # The broker is the timer: whoever is there then goes on.
            return max(GRACE, desk.policy().grace)
        entry = await self._entry(thing)
        held, record, _ = await desk.records.change(
            thing, lambda old: living.gone(old, said.boot, word.sequence, word.at_ms)
        )
        if held is not None:
            await self._lose(thing, record, held, entry, "its last will came")
        return None

    async def on_bye(self, word: Word, said: ThingGone) -> None:
        """It leaves.

        Raises:
            BusError, TimeoutError: something was not stored.
        """
        desk, thing = self._desk, word.thing
        entry = await self._entry(thing)
        held, record, _ = await desk.records.change(
            thing, lambda old: living.gone(old, said.boot, word.sequence, word.at_ms)
        )
        if held is None:
            return
        log.info("thing %s left", thing)
        desk.give_back(thing, held, all_of_it=True)
        await mqtt.forget(desk.bus, thing)
        await self._tell("left", thing, record, f"left:{thing}:{record.boot}")
        await registry.remove(desk.bus, thing, entry)

    async def is_there(self, thing: str) -> str:
        """A coordinator asks whether a thing lives: its boot if it does, else empty. If it should
        have been heard of it is lost now.

        Raises:
            BusError, TimeoutError: the record could not be read, or something was not stored.
        """
        desk = self._desk
        entry = await self._entry(thing)
        held, record, _ = await desk.records.change(
            thing, lambda old: living.missed(old, desk.clock.now())
        )
        if held is not None:
            await self._lose(thing, record, held, entry, "it was not heard of any more")
        return record.boot if record.online else ""

    # the inside

    async def _lose(
        self, thing: str, record: Record, held: dict[str, Holding], entry: int, why: str
    ) -> None:
        log.warning("thing %s is lost (%s); it held %d tasks", thing, why, len(held))
        desk = self._desk
        desk.give_back(thing, held, all_of_it=False)
        # Else it would begin, when it is back, what others have done by then.
        await mqtt.forget(desk.bus, thing)
        await self._tell("lost", thing, record, f"lost:{thing}:{record.boot}", why=why)
        await registry.remove(desk.bus, thing, entry, "lost")

    def _tell_of_twins(self, thing: str, record: Record) -> None:
        now = time.monotonic()
        if now < self._quiet.get(thing, 0.0):
            return
        if len(self._quiet) > MOST:
            self._quiet.clear()
        self._quiet[thing] = now + QUIET
        log.warning(
            "two devices take turns as thing %s, with the boots %s and %s, and throw each other "
            "out: give one of them another id (or it uses a boot again that it had before)",
            thing,
            record.former,
            record.boot,
        )

    async def _check_agent(self, thing: str) -> None:
        """A thing must not take the place of an agent that is none.

        Raises:
            Refused: an agent has its id.
        """
        card = await registry.card(self._desk.bus, thing)
        if card is not None and not living.is_thing(card.labels):
            raise Refused(f"{thing!r} is the id of an agent that is no thing: give it another id")

    async def _entry(self, thing: str) -> int:
        """The revision of a thing's registry entry. Read before the step that decides that it is
        gone: what it registers after that must stay."""
        subjects = self._desk.bus.subjects
        message = await store.last(
            self._desk.bus, subjects.registry_stream, subjects.registry_keys + thing
        )
        return 0 if message is None else store.sequence(message)

    async def _register(self, thing: str, record: Record) -> None:
        bus = self._desk.bus
        ttl = f"{self._desk.lease(record.every)}s"
        key = bus.subjects.registry_keys + thing
        await store.publish(bus, key, codec.encode(record.card), h.encode([(h.TTL, ttl)]))

    async def _tell(
        self, kind: str, thing: str, record: Record, unique: str = "", **data: str
    ) -> None:
        about = {"site": record.site, "link": "mqtt", **data}
        await records.event(
            self._desk.bus, kind, thing, by=self._desk.me, data=about, unique=unique
        )
