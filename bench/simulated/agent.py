"""One simulated agent: what it says, and what it answers.

It speaks the protocol as ``agent_runtime`` does, with the same rules for its lease and its
heartbeats, and runs nothing: a task is answered with its own payload at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from agent_runtime.load import FEEDBACK, Load
from agent_runtime.presence import JITTER, RETURN
from bench.simulated import crew
from bus import codec
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.command import Reply
from bus.wire.event import Event
from bus.wire.heartbeat import FleetPolicy, Heartbeat
from bus.wire.result import Result

if TYPE_CHECKING:
    from bench.simulated.carrier import Carrier

DISPATCH, ADVERT, POLICY, CANCEL, ALL, SITE, OWN, CAPABILITY = range(8)
"""What an agent is subscribed to. Its subscription ids are ``KINDS`` times its place plus these."""
KINDS: Final = 8

SERVICE: Final = 0.0001
"""Seconds that a task is said to have taken: what an echo takes an ordinary agent."""
RSS: Final = 40_000_000
PAUSE: Final = 0.25
"""Seconds before a registration that nobody took is tried again, as ``bus.store`` does."""


class SimulatedAgent:
    """One agent. Its carrier has the connection and the clock."""

    __slots__ = (
        "_carrier",
        "beat_at",
        "card",
        "connected",
        "last_beat",
        "lease_at",
        "load",
        "missed",
        "place",
        "policy",
        "registered",
        "seq",
    )

    def __init__(self, number: int, place: int, carrier: Carrier) -> None:
        """``place`` is where it is on its link."""
        self.place = place
        self.card = crew.card(number)
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
        self._carrier = carrier

    # coming, and coming back

    def join(self) -> None:
        """Look whether the id is free, subscribe, read the policy, register, say so."""
        self.connected = True
        s = self._carrier.subjects
        key = f"{s.registry_keys}{self.card.agent}"
        self._carrier.link.ask(f"$JS.API.DIRECT.GET.{s.registry_stream}.{key}", self._on_twin)

    def come_back(self, _planned: float) -> None:
        """The connection is there again: as ``agent_runtime.presence`` does then."""
        self.connected = True
        self.subscribe()
        carrier = self._carrier
        delay = self.policy.interval * carrier.rng.uniform(*RETURN)
        carrier.timers.at(carrier.now() + delay, self._report_back)

    def _report_back(self, _planned: float) -> None:
        self.renew()
        self.beat()

    def cut_off(self) -> None:
        """The connection broke."""
        self.connected = self.registered = False

    def subscribe(self) -> None:
        """Listen where an ordinary agent listens for the fleet."""
        subjects, card, first = self._carrier.subjects, self.card, self.place * KINDS
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
            self._carrier.link.subscribe(subject, first + kind)

    def renew(self, after: float = 1.0) -> None:
        """Put the card into the registry, the first time or to renew its lease, and plan to do
        so again ``after`` such a share of a third of the lease."""
        if not self.connected:
            return
        carrier = self._carrier
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
        s = self._carrier.subjects
        key = f"{s.config_keys}policy"
        self._carrier.link.ask(f"$JS.API.DIRECT.GET.{s.config_stream}.{key}", self._on_policy)

    def _on_policy(self, _block: bytes, data: bytes) -> None:
        if data:
            self.policy = self._carrier.policy(data)
        self.renew()

    def _register(self, _planned: float = 0.0) -> None:
        carrier = self._carrier
        carrier.link.ask(
            carrier.subjects.registry_keys + self.card.agent,
            self._on_registered,
            codec.encode(self.card),
            carrier.ttl(self.policy.lease),
        )

    def _on_registered(self, _block: bytes, data: bytes) -> None:
        carrier = self._carrier
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

    def _event(self, kind: str) -> None:
        at = time.time_ns() // 1_000_000
        agent = self.card.agent
        event = Event(kind, agent, at, agent, {"site": self.card.site})
        self._carrier.link.ask(
            self._carrier.subjects.event(kind, agent),
            _ignore,
            codec.encode(event),
            h.encode([(h.MSG_ID, f"{kind}:{agent}:{self.card.incarnation}")]),
        )

    # being there

    def beat(self, after: float = 1.0) -> None:
        """Send a heartbeat that promises the next in about an interval, and plan it ``after``
        such a share of that."""
        carrier, load, card = self._carrier, self.load, self.card
        load.reported(carrier.now())
        self.seq += 1
        delay = self.policy.interval * carrier.rng.uniform(1 - JITTER, 1 + JITTER)
        self.last_beat = carrier.now()
        self.beat_at = self.last_beat + delay * after
        carrier.timers.at(self.beat_at, self.beat_is_due)
        if not self.connected:
            return
        carrier.beats += 1
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
        at = max(self._carrier.now(), self.last_beat + FEEDBACK)
        if self.beat_at > at:
            self.beat_at = at
            self._carrier.timers.at(at, self.beat_is_due)

    def settle(self, within: float) -> None:
        """Renew and report once more ``within`` seconds, and from then on at the times that it
        would have come to in a long life: any in the interval, and any in a third of the lease."""
        carrier = self._carrier
        at = carrier.now() + within * carrier.rng.random()
        carrier.timers.at(at, self._settle)

    def _settle(self, _planned: float) -> None:
        draw = self._carrier.rng.random
        self.renew(after=draw())
        self.beat(after=draw())

    # what comes

    def on_message(self, kind: int, reply: bytes, block: bytes, data: bytes) -> None:
        """A message on one of its subscriptions."""
        if kind == DISPATCH:
            self._on_dispatch(reply.decode(), h.decode(block), data)
        elif kind == ADVERT:
            if not data:
                self._carrier.called_dead += 1
                self.missed = True
                self.renew()
                self.poke()
        elif kind == POLICY:
            if data:
                self.policy = self._carrier.policy(data)
        elif kind != CANCEL:
            self._on_command(reply, data)

    def _on_dispatch(self, reply: str, fields: h.Headers, data: bytes) -> None:
        carrier, link, load = self._carrier, self._carrier.link, self.load
        if h.PROBE in fields:
            carrier.probes += 1
            link.send(reply, b"", "", h.encode([(h.INCARNATION, self.card.incarnation)]))
            return
        if fields.get(h.CAPABILITY) != "echo" or load.room <= 0:
            reason = "full" if load.room <= 0 else "capability"
            link.send(reply, b"", "", h.encode([(h.BUSY, reason)]))
            return
        load.accept(fields.get(h.VIA, ""))
        load.queued -= 1
        load.running += 1
        worth_saying = load.finish("echo", SERVICE)
        carrier.tasks += 1
        task = fields[h.TASK]
        outcome = Result(
            task,
            "completed",
            content_type=fields.get(h.CONTENT_TYPE, h.JSON),
            agent=self.card.agent,
            attempt=int(fields.get(h.ATTEMPT, "1")),
            run_ms=SERVICE * 1000,
        )
        if h.REPLY in fields:
            link.send(fields[h.REPLY], data, "", results.encode(outcome))
        else:
            ack = fields[h.ACK]
            block = h.extend(results.encode(outcome), results.ONCE)
            # Acknowledged once the result is stored, or was before.
            link.ask(
                carrier.subjects.result(task), lambda _b, _d: link.send(ack, b"+ACK"), data, block
            )
        if worth_saying:
            self.poke()

    def _on_command(self, reply: bytes, data: bytes) -> None:
        command, selector = self._carrier.command(data)
        card = self.card
        names = [one.name for one in card.capabilities]
        if not reply or not selector.matches(card.agent, card.site, card.labels, names):
            return
        if command.verb == "ping":
            answer = Reply(card.agent, "ok", command.id, "pong", elapsed_ms=0.01)
        else:
            text = f"unknown verb {command.verb!r}"
            answer = Reply(card.agent, "rejected", command.id, error=text)
        self._carrier.link.send(reply.decode(), codec.encode(answer))


def _ignore(_block: bytes, _data: bytes) -> None:
    """An answer that says nothing new."""
