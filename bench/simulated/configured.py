"""The configuration of one simulated agent: heard, fetched and reported as ``agent_runtime`` does.

What it applies is nothing but the hash; it may be told to reject what comes, or not to listen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from agent_runtime.config_feed import AGAIN, HEADLESS, RETURN
from bench.simulated.layers import Answer
from bus import codec
from bus.client import config
from bus.config.changes import Change
from bus.config.followed import Followed, Taken
from bus.config.layers import Effective, Layers
from bus.errors import DecodeError
from bus.wire.config import ConfigReport, Rejection

if TYPE_CHECKING:
    from bench.simulated.agent import SimulatedAgent
    from bench.simulated.carrier import Carrier

Stance = Literal["follows", "rejects", "deaf"]
"""``rejects``: takes no configuration but the one that it has. ``deaf``: hears of no change."""

PAUSE: Final = 0.25
"""Seconds before a question that the server refused is asked again."""

COMMIT_DIGITS: Final = 12
"""Of a commit, in heartbeats."""

REASON: Final = "section_00.key_0: it was told to reject what comes"

_NOTHING: Final = Layers().of("", "", {}, ())


class Configured:
    """One agent's. A fleet without layers costs it a few words of memory."""

    __slots__ = (
        "_agent",
        "_applied_ms",
        "_capabilities",
        "_carrier",
        "_commit",
        "_doubted",
        "_due",
        "_followed",
        "_heard",
        "_in_force",
        "_look_at",
        "_made",
        "rejection",
        "stance",
    )

    def __init__(self, agent: SimulatedAgent, carrier: Carrier, capabilities: tuple[str, ...]):
        self.stance: Stance = "follows"
        self.rejection: Rejection | None = None
        self._agent = agent
        self._carrier = carrier
        self._capabilities = capabilities
        self._followed: Followed | None = None
        """Made with the first layer that it hears of."""
        self._made: Effective = _NOTHING
        self._in_force: Effective = _NOTHING
        self._commit = ""
        self._applied_ms = 0
        self._heard: list[Change] | None = None
        """What came while a question was under way."""
        self._doubted = False
        """The last answer was older than what was heard."""
        self._look_at = 0.0
        """When it looks after writes of a batch whose head has not come; 0 for not."""
        self._due = 0.0
        """When it fetches next, on the loop's clock; 0 for not."""

    @property
    def hash(self) -> str:
        return self._in_force.hash

    @property
    def commit(self) -> str:
        """As heartbeats have it."""
        return self._commit[:COMMIT_DIGITS]

    def report(self) -> ConfigReport:
        """What the command ``config`` answers."""
        return ConfigReport(
            hash=self._in_force.hash,
            commit=self._commit,
            applied_ms=self._applied_ms,
            state="ok" if self.rejection is None else "rejected",
            rejected=self.rejection,
            versions=self._agent.versions,
        )

    # hearing and asking

    def cut_off(self) -> None:
        """The connection broke: what was asked will not be answered."""
        self._heard = None

    def come_back(self) -> None:
        """The connection is there again: ask what was missed, when all the others do not."""
        self._plan(self._agent.policy.interval * self._carrier.rng.uniform(*RETURN))

    def on_write(self, block: bytes, data: bytes) -> None:
        """A write to the configuration bucket was heard."""
        if self.stance == "deaf":
            return
        try:
            change = self._carrier.layers.change(block, data)
        except DecodeError:
            self._carrier.dropped += 1
            return
        if change.problem:
            self._carrier.dropped += 1
        if self._heard is not None:
            self._heard.append(change)
        followed = self._followed
        if followed is None:
            followed = self._followed = Followed()
        self._took(followed, followed.take(change))
        if not followed.staged:
            # One that looked later might see half of the next batch: here the agents of a
            # connection get a message one after the other.
            self._look_at = 0.0
        elif not self._look_at:
            carrier = self._carrier
            wait = HEADLESS + carrier.rng.uniform(0.0, self._agent.spread)
            self._look_at = carrier.now() + wait
            carrier.timers.at(self._look_at, self._look)

    def fetch(self, then: Callable[[], None]) -> None:
        """Ask for all layers that matter at one moment; ``then`` is called when they are here."""
        carrier, agent = self._carrier, self._agent
        subjects = carrier.subjects
        known = Followed()
        if self._followed is not None:
            known.revisions.update(self._followed.revisions)
        self._heard = []
        carrier.fetches += 1
        keys = [subjects.config_keys + key for key in config.keys(agent.card.agent)]
        carrier.link.ask_all(
            f"$JS.API.DIRECT.GET.{subjects.config_stream}",
            lambda status, answers: self._on_answers(status, answers, known, then),
            codec.encode({"multi_last": keys, "batch": 1024}),
        )

    # the inside

    def _on_answers(
        self, status: bytes, answers: list[Answer], known: Followed, then: Callable[[], None]
    ) -> None:
        carrier = self._carrier
        heard, self._heard = self._heard, None
        if status not in (b"204", b"404"):
            carrier.refused += 1
            carrier.timers.at(carrier.now() + PAUSE, lambda _: self._again(then))
            return
        if answers or self._followed is not None:
            self._adopt(answers, known, heard or [])
        then()

    def _again(self, then: Callable[[], None]) -> None:
        if self._agent.connected:
            self.fetch(then)

    def _adopt(self, answers: list[Answer], known: Followed, heard: list[Change]) -> None:
        fetched = self._carrier.layers.fetched(answers)
        if fetched.behind(known) and not self._doubted:
            # Once more, before something that was heard is taken back.
            self._doubted = True
            self._plan(AGAIN)
            return
        self._doubted = False
        before = (self._made.hash, self._head())
        for change in heard:
            fetched.take(change)
        self._followed = fetched
        self._make(fetched)
        if (self._made.hash, self._head()) != before:
            self._want()

    def _took(self, followed: Followed, taken: Taken) -> None:
        if any(self._matters(followed, name) for name in taken.layers):
            self._make(followed)
            self._want()
        elif taken.head:
            self._want()

    def _matters(self, followed: Followed, name: str) -> bool:
        if any(one.name == name for one in self._made.layers):
            return True
        stored, card = followed.stored.get(name), self._agent.card
        return stored is not None and stored.selector.matches(
            card.agent, card.site, card.labels, self._capabilities
        )

    def _make(self, followed: Followed) -> None:
        self._made = self._carrier.layers.of(followed, self._agent.card, self._capabilities)

    def _head(self) -> str:
        followed = self._followed
        return "" if followed is None or followed.head is None else followed.head.commit

    def _want(self) -> None:
        """Put what was made in force, or reject it; and say so when it is this agent's turn."""
        made, commit = self._made, self._head()
        now_ms = time.time_ns() // 1_000_000
        if self.stance == "rejects" and made.hash != self._in_force.hash:
            if self.rejection is None or self.rejection.hash != made.hash:
                data = {"hash": made.hash, "commit": commit, "reason": REASON}
                self._agent.tell_spread("config.rejected", data)
            self.rejection = Rejection(made.hash, REASON, commit, now_ms)
        else:
            if made.hash != self._in_force.hash:
                self._applied_ms = now_ms
            self._in_force, self._commit, self.rejection = made, commit, None
        self._agent.poke_spread()

    def _look(self, planned: float) -> None:
        if planned == self._look_at:
            self._look_at = 0.0
            self._plan(0.0)

    def _plan(self, delay: float) -> None:
        """Fetch after ``delay`` seconds, or earlier if that was planned."""
        at = self._carrier.now() + delay
        if not self._due or at < self._due:
            self._due = at
            self._carrier.timers.at(at, self._fetch_is_due)

    def _fetch_is_due(self, planned: float) -> None:
        if planned != self._due:
            return
        self._due = 0.0
        if self._heard is not None:
            self._plan(PAUSE)  # one question at a time
        elif self._agent.connected and self.stance != "deaf":
            self.fetch(_nothing)


def _nothing() -> None:
    """Nobody waits for this answer."""
