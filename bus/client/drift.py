"""Asks every agent of a fleet how its configuration stands."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from bus.client import config, links, registry
from bus.client.commands import Broadcast
from bus.config import drift
from bus.config.changes import Change
from bus.config.drift import Moment, Standing, Versions
from bus.config.layers import Layers
from bus.config.past import Past, State
from bus.connection import Bus
from bus.errors import NoAgent
from bus.wire.card import Card
from bus.wire.command import Reply
from bus.wire.config import ConfigReport

VERB: Final = "config"
"""The command that every agent answers with a ``ConfigReport``."""


@dataclass(frozen=True, slots=True)
class Survey:
    """How a fleet stands at one moment."""

    # Not in its repr: asyncio's runner makes that of its task's result when it is done, which
    # takes the command a tenth of a second for ten thousand agents.
    standings: tuple[Standing, ...] = field(repr=False)
    """By agent."""
    versions: tuple[Versions, ...]
    """By capability."""
    state: State = field(repr=False)
    """What is on the bus."""
    at: float
    """Unix time."""

    @property
    def layers(self) -> Layers:
        """What is in force."""
        return self.state.layers

    @property
    def edited(self) -> tuple[Change, ...]:
        """Layers that somebody edited on the bus behind Git's back."""
        return self.state.edited

    @property
    def parity(self) -> float:
        """Share of the agents that have the configuration that they should."""
        return drift.parity(self.standings)

    @property
    def drifting(self) -> list[Standing]:
        """Those that have not."""
        return [one for one in self.standings if one.drifts]

    def skewed(self, window: float) -> list[Versions]:
        """Capabilities that have run in several versions for longer than ``window`` seconds."""
        return [one for one in self.versions if one.skewed(self.at, window)]


async def survey(bus: Bus, select: str = "", timeout: float = 3.0) -> Survey:
    """Ask all registered agents that match.

    Args:
        timeout: seconds for an answer; who has not answered by then is silent, or away if its
            site's link is down.

    Raises:
        InvalidSelector: the selector cannot be parsed.
        NoAgent: nobody matches it.
        TopologyMissing, BusError, TimeoutError: the bus cannot be read.
    """
    agents = {card.agent: _Asked.of(card) async for card in registry.cards(bus, select)}
    if select and not agents:
        fleet = bus.subjects.fleet
        raise NoAgent("", f"fleet {fleet!r} has no agent that matches {select!r}")
    replies: dict[str, Reply] = {}
    if agents:
        async for reply in ask(bus, agents, select, timeout):
            replies[reply.agent] = reply
    away: Container[str] = ()
    if any(one.relay and name not in replies for name, one in agents.items()):
        away = await links.away(bus)
    # After they were asked: what they have must be among what was.
    state = await config.current(bus)
    past: Sequence[Moment] = [_Now(state.layers)]
    standings = [_standing(one, replies.get(one.agent), past, away) for one in agents.values()]
    if any(one.hash and one.hash != one.wanted for one in standings):
        # A history is long, and of no use for those that are as they should be.
        past = Past([one async for one in config.history(bus)]).moments
        standings = [_standing(one, replies.get(one.agent), past, away) for one in agents.values()]
    running = ((one.versions or {}, agents[one.agent].started) for one in standings)
    return Survey(
        tuple(sorted(standings, key=lambda one: one.agent)),
        tuple(drift.versions(running)),
        state,
        time.time(),
    )


async def ask(
    bus: Bus, agents: Iterable[str], select: str = "", timeout: float = 3.0
) -> AsyncIterator[Reply]:
    """The last answers of ``agents``, all of those that match ``select``, to ``VERB``."""
    sent = Broadcast(bus, VERB, select=select, timeout=timeout)
    sent.tally.expected = set(agents)
    async for reply in sent:
        if reply.state != "accepted":
            yield reply


def report_of(reply: Reply) -> tuple[ConfigReport | None, str]:
    """The report in an answer, or None and what is wrong with it."""
    if reply.state != "ok":
        return None, f"it does not say: {reply.error}"
    try:
        return msgspec.convert(reply.output, ConfigReport), ""
    except msgspec.ValidationError as problem:
        return None, f"what it says cannot be read: {problem}"


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """What of an agent card matters here: ten thousand whole ones, with the schemas of their
    capabilities, keep the garbage collector busy."""

    agent: str
    site: str
    labels: dict[str, str]
    capabilities: tuple[str, ...]
    started: float
    """Unix time."""
    relay: str
    """At the hub: the site through whose link it is reached."""

    @classmethod
    def of(cls, card: Card) -> _Asked:
        names = tuple(one.name for one in card.capabilities)
        return cls(card.agent, card.site, card.labels, names, card.started_ms / 1000, card.relay)


class _Now(NamedTuple):
    """The only moment of which anything is known."""

    layers: Layers
    at: float = 0.0


def _standing(
    one: _Asked, reply: Reply | None, past: Sequence[Moment], away: Container[str]
) -> Standing:
    report, problem = (None, "") if reply is None else report_of(reply)
    site = one.relay if one.relay in away else ""
    return drift.judge(one, one.capabilities, report, past, problem, site)
