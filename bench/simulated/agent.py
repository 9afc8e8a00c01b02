"""One simulated agent: what it says, and what it answers.

It speaks the protocol as ``agent_runtime`` does, with the same rules for its lease and its
heartbeats, and runs nothing: a task is answered with its own payload at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from agent_runtime.load import FEEDBACK, Load
from agent_runtime.presence import JITTER, RETURN, SYNCED
from bench.simulated import crew
from bench.simulated.answering import on_command, on_dispatch
from bench.simulated.configured import PAUSE, Configured
from bus import codec
from bus.client import config
from bus.wire import headers as h
from bus.wire.event import Event
from bus.wire.heartbeat import FleetPolicy, Heartbeat

if TYPE_CHECKING:
    from bench.simulated.carrier import Carrier

DISPATCH, ADVERT, POLICY, CANCEL, ALL, SITE, OWN, CAPABILITY, CONFIG = range(9)
"""What an agent is subscribed to. Its subscription ids are ``KINDS`` times its place plus these;
from ``CONFIG`` on they are all of its configuration."""
KINDS: Final = CONFIG + len(config.keys("any"))

RSS: Final = 40_000_000


class SimulatedAgent:
    """One agent. Its carrier has the connection and the clock."""

    __slots__ = (
        "beat_at",
        "card",
        "carrier",
        "configured",
        "connected",
        "last_beat",
        "lease_at",
        "load",
        "missed",
        "number",
        "place",
        "policy",
        "registered",
        "seq",
        "versions",
    )

    def __init__(self, number: int, place: int, carrier: Carrier) -> None:
        """``place`` is where it is on its link."""
        self.number = number
        self.place = place
        self.card = crew.card(number)
        self.versions = crew.versions(number)
        """Of its capabilities."""
        self.load = Load(self.card.slots)
        self.policy = FleetPolicy()
        self.connected = False
        """Its own connection would be up."""
        self.registered = False
        """Since then."""
        self.missed = False
        """Taken for dead, and not yet said otherwise."""
        self.seq = 0
        self.last_beat = 0.0
        self.beat_at = 0.0
        """When its next heartbeat is due, on the loop's clock."""
        self.lease_at = 0.0
        """When it renews its lease."""
        self.carrier = carrier
        self.configured = Configured(self, carrier, tuple(self.versions))

    # coming, and coming back

    def join(self) -> None:
        """Look whether the id is free, subscribe, read the policy and the layers, register, say
        so."""
        self.connected = True
        s = self.carrier.subjects
        key = f"{s.registry_keys}{self.card.agent}"
        self.carrier.link.ask(f"$JS.API.DIRECT.GET.{s.registry_stream}.{key}", self._on_twin)

    def come_back(self, _planned: float) -> None:
        """The connection is there again: as ``agent_runtime.presence`` does then."""
        self.connected = True
        self.subscribe()
        carrier = self.carrier
        delay = self.policy.interval * carrier.rng.uniform(*RETURN)
        carrier.timers.at(carrier.now() + delay, self._report_back)
        self.configured.come_back()

    def _report_back(self, _planned: float) -> None:
        self.renew()
        self.beat()

    def cut_off(self) -> None:
        """The connection broke."""
        self.connected = self.registered = False
        self.configured.cut_off()

    def subscribe(self) -> None:
        """Listen where an ordinary agent listens for the fleet."""
        subjects, card, first = self.carrier.subjects, self.card, self.place * KINDS
        for kind, subject in (
            (DISPATCH, subjects.dispatch(card.agent)),
            (ADVERT, subjects.advert(card.agent)),
            (POLICY, subjects.config("policy")),
            (CANCEL, subjects.cancels("echo")),
            (ALL, subjects.command_all),
            (SITE, subjects.command_site(card.site)),
            (OWN, subjects.command_agent(card.agent)),
            (CAPABILITY, subjects.command_capability("echo")),
        ):
            self.carrier.link.subscribe(subject, first + kind)
        for number, key in enumerate(config.keys(card.agent)):
            self.carrier.link.subscribe(subjects.config(key), first + CONFIG + number)

    def renew(self, after: float = 1.0) -> None:
        """Put the card into the registry, the first time or to renew its lease, and plan to do
        so again ``after`` such a share of a third of the lease."""
        if not self.connected:
            return
        carrier = self.carrier
        third = self.policy.lease / 3 * carrier.rng.uniform(1 - JITTER, 1.0)
        self.lease_at = carrier.now() + third * after
        carrier.timers.at(self.lease_at, self.lease_is_due)
        self._register()

    def lease_is_due(self, planned: float) -> None:
        """The time that was ``planned`` for a renewal has come."""
        if planned == self.lease_at:
            self.renew()

    def _on_twin(self, _block: bytes, _data: bytes) -> None:
        self.subscribe()
        s = self.carrier.subjects
        key = f"{s.config_keys}policy"
        self.carrier.link.ask(f"$JS.API.DIRECT.GET.{s.config_stream}.{key}", self._on_policy)

    def _on_policy(self, _block: bytes, data: bytes) -> None:
        if data:
            self.policy = self.carrier.policy(data)
        self.configured.fetch(self.renew)

    def _register(self, _planned: float = 0.0) -> None:
        carrier = self.carrier
        carrier.link.ask(
            carrier.subjects.registry_keys + self.card.agent,
            self._on_registered,
            codec.encode(self.card),
            carrier.ttl(self.policy.lease),
        )

    def _on_registered(self, _block: bytes, data: bytes) -> None:
        carrier = self.carrier
        if b'"seq"' not in data:
            carrier.refused += 1
            carrier.timers.at(carrier.now() + PAUSE, self._register)
            return
        if self.missed:
            self.missed = False
            self._event("returned")
        if not self.registered:
            self.registered = True
            if not self.seq:
                self._event("joined")
                self.beat()
            carrier.on_registered()

    def _event(self, kind: str, data: Mapping[str, Any] | None = None) -> None:
        at = time.time_ns() // 1_000_000
        agent = self.card.agent
        event = Event(kind, agent, at, agent, {"site": self.card.site, **(data or {})})
        unique = f"{kind}:{agent}:{self.card.incarnation}"
        if kind not in ("joined", "left"):
            unique += f":{at}"
        self.carrier.link.ask(
            self.carrier.subjects.event(kind, agent),
            _ignore,
            codec.encode(event),
            h.encode([(h.MSG_ID, unique)]),
        )

    # being there

    def beat(self, after: float = 1.0) -> None:
        """Send a heartbeat that promises the next in about an interval, and plan it ``after``
        such a share of that."""
        carrier, load, card = self.carrier, self.load, self.card
        load.reported(carrier.now())
        self.seq += 1
        delay = self.policy.interval * carrier.rng.uniform(1 - JITTER, 1 + JITTER)
        self.last_beat = carrier.now()
        self.beat_at = self.last_beat + delay * after
        carrier.timers.at(self.beat_at, self.beat_is_due)
        if not self.connected:
            return
        carrier.beats += 1
        configured = self.configured
        beat = Heartbeat(
            agent=card.agent,
            incarnation=card.incarnation,
            seq=self.seq,
            site=card.site,
            slots=load.slots,
            window=load.window,
            running=load.running,
            queued=load.queued,
            done=load.done,
            accepted=load.accepted,
            service_ms=load.service_ms,
            cpu=0.01,
            rss=RSS,
            config=configured.hash,
            commit=configured.commit,
            rejected="" if configured.rejection is None else configured.rejection.hash,
            versions=self.versions,
            version=card.runtime,
            next_in=delay,
            interval=self.policy.interval,
            sent_ms=time.time_ns() // 1_000_000,
        )
        carrier.link.send(carrier.subjects.heartbeat(card.site, card.agent), codec.encode(beat))

    def beat_is_due(self, planned: float) -> None:
        """The time that was ``planned`` for a heartbeat has come."""
        if planned == self.beat_at:
            self.beat()

    def poke(self) -> None:
        """The load changed enough to matter: report it, at most every ``FEEDBACK`` seconds."""
        at = max(self.carrier.now(), self.last_beat + FEEDBACK)
        if self.beat_at > at:
            self.beat_at = at
            self.carrier.timers.at(at, self.beat_is_due)

    @property
    def spread(self) -> float:
        """Seconds in which all of the fleet may do something that each has a reason for now."""
        return min(self.policy.interval, self.policy.agents / SYNCED)

    def poke_spread(self) -> None:
        """Something has changed for all agents at once: report it soon, but not with them."""
        if not self.seq:
            return  # it has not joined
        carrier = self.carrier
        soon = carrier.now() + carrier.rng.uniform(0.0, self.spread)
        at = max(soon, self.last_beat + FEEDBACK)
        if self.beat_at > at:
            self.beat_at = at
            carrier.timers.at(at, self.beat_is_due)

    def tell_spread(self, kind: str, data: Mapping[str, Any]) -> None:
        """Publish an event that others may have reason for at the same time."""
        carrier = self.carrier
        at = carrier.now() + carrier.rng.uniform(0.0, self.spread)
        carrier.timers.at(at, lambda _: self._event(kind, data))

    def settle(self, within: float) -> None:
        """Renew and report once more ``within`` seconds, and from then on at the times that it
        would have come to in a long life: any in the interval, and any in a third of the lease."""
        carrier = self.carrier
        at = carrier.now() + within * carrier.rng.random()
        carrier.timers.at(at, self._settle)

    def _settle(self, _planned: float) -> None:
        draw = self.carrier.rng.random
        self.renew(after=draw())
        self.beat(after=draw())

    # what comes

    def on_message(self, kind: int, reply: bytes, block: bytes, data: bytes) -> None:
        """A message on one of its subscriptions."""
        if kind >= CONFIG:
            self.configured.on_write(block, data)
        elif kind == DISPATCH:
            on_dispatch(self, reply.decode(), h.decode(block), data)
        elif kind == ADVERT:
            if not data:
                self.carrier.called_dead += 1
                self.missed = True
                self.renew()
                self.poke()
        elif kind == POLICY:
            if data:
                self.policy = self.carrier.policy(data)
        elif kind != CANCEL:
            on_command(self, reply, data)


def _ignore(_block: bytes, _data: bytes) -> None:
    """An answer that says nothing new."""
