"""Topics of the fleet: what the bus's own way into nats-py gains over nats-py itself.

Publishers and subscribers are processes of their own, on the same subject for both sides.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from bench.harness.errors import ChildFailed
from bench.harness.figures import Params
from bench.harness.processes import Child, spawn
from bench.harness.scenario import Plot, Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bench.sides import bare_pubsub, our_pubsub
from bench.sides.pubsub import Order, Report
from bus.subjects import Subjects

MANY: Final = 4
PATTERNS: Final = {"1→1": (1, 1), f"1→{MANY}": (1, MANY), f"{MANY}→1": (MANY, 1)}
"""Publishers and subscribers."""
COUNTS: Final = {16: 160_000, 128: 160_000, 1024: 100_000, 16_384: 16_000, 65_536: 4_000}
"""Bytes of a payload, and how many messages are to arrive in all."""
OURS, BARE = "ours", "bare nats-py"
MODULES: Final = {OURS: our_pubsub.MODULE, BARE: bare_pubsub.MODULE}


@dataclass(frozen=True)
class Case:
    """One run."""

    pattern: str
    payload: int
    side: str

    def __str__(self) -> str:
        return f"{self.side}, {self.pattern}, {self.payload} bytes"

    @property
    def params(self) -> Params:
        return {"pattern": self.pattern, "payload": self.payload}


@dataclass(frozen=True)
class Crew:
    """The processes of one side."""

    publishers: dict[str, Child]
    subscribers: dict[str, Child]


async def run(session: Session) -> None:
    """All cases on one server, with the processes of both sides connected throughout."""
    dropped: Counter[str] = Counter()
    async with server() as made, _crews(made.url) as crews:
        cases = [
            Case(pattern, payload, side)
            for pattern in PATTERNS
            for payload in COUNTS
            for side in MODULES
        ]
        for number, case in enumerate(session.interleaved(cases)):
            dropped[case.side] += await _measure(session, case, crews[case.side], number)
    for pattern in PATTERNS:
        for payload in COUNTS:
            params: Params = {"pattern": pattern, "payload": payload}
            session.ratio("messages/s", OURS, BARE, params=params)
    for side in MODULES:
        session.record("dropped", dropped[side], "messages", side=side, better="lower")
        if dropped[side]:
            session.note(f"{side}: {dropped[side]:,} messages were published and never arrived.")
    session.note(
        "Messages are counted where they arrive: one that four subscribers get counts four "
        "times. Publishers wait for subscribers that are 8 MiB or 20,000 messages behind, so "
        "that nothing has to be dropped."
    )


async def _measure(session: Session, case: Case, crew: Crew, number: int) -> int:
    """Returns how many messages did not arrive."""
    publishing, subscribing = PATTERNS[case.pattern]
    publishers = dict(list(crew.publishers.items())[:publishing])
    subscribers = dict(list(crew.subscribers.items())[:subscribing])
    order = _order(
        case, session.plan.count(COUNTS[case.payload] // subscribing, 400), number, subscribers
    )
    line = msgspec.json.encode(order).decode()
    for child in subscribers.values():
        await child.tell(line)
    for child in subscribers.values():
        if (said := await child.line()) != "listening":
            raise ChildFailed("a subscriber", f"said {said!r} instead of 'listening'")
    for child in publishers.values():
        await child.tell(line)
    sent = await asyncio.gather(*map(_report, publishers.values()))
    received = await asyncio.gather(*map(_report, subscribers.values()))
    arrived = sum(one.count for one in received)
    seconds = max(one.ended for one in received) - min(one.begun for one in sent)
    for metric, value in (
        ("messages/s", arrived / seconds),
        ("MB/s", arrived * case.payload / seconds / 1e6),
    ):
        session.record(metric, value, metric, side=case.side, better="higher", params=case.params)
    if (publishing, subscribing) != (1, 1):
        return sum(one.count for one in sent) * subscribing - arrived
    for role, reports in (("publisher", sent), ("subscriber", received)):
        spent = sum(one.cpu for one in reports) / max(1, sum(one.count for one in reports))
        session.record(
            f"CPU a message, {role}",
            spent * 1e6,
            "µs",
            side=case.side,
            better="lower",
            params=case.params,
        )
    return sum(one.count for one in sent) - arrived


def _order(case: Case, count: int, number: int, subscribers: dict[str, Child]) -> Order:
    publishers = PATTERNS[case.pattern][0]
    # A topic that is not stored, and that no coordinator listens to.
    subjects = Subjects(FLEET)
    return Order(
        subject=subjects.progress(f"topic.{number}"),
        credit=subjects.progress(f"credit.{number}"),
        size=case.payload,
        count=count // publishers * publishers,
        publishers=publishers,
        subscribers=tuple(subscribers),
    )


async def _report(child: Child) -> Report:
    return msgspec.json.decode(await child.line(120), type=Report)


@asynccontextmanager
async def _crews(url: str) -> AsyncIterator[dict[str, Crew]]:
    children: list[Child] = []

    async def start(side: str, role: str) -> dict[str, Child]:
        names = [f"{role}{number}" for number in range(MANY)]
        started = await asyncio.gather(
            *(spawn("-m", MODULES[side], url, role, name, stdin=True) for name in names)
        )
        children.extend(started)
        return dict(zip(names, started, strict=True))

    try:
        yield {side: Crew(await start(side, "pub"), await start(side, "sub")) for side in MODULES}
    finally:
        await asyncio.gather(*(child.stop() for child in children))


SCENARIO: Final = Scenario(
    name="pubsub",
    summary="Messages on a topic of the fleet that is not stored, through our connection and "
    "through bare nats-py, at the rate at which all of them arrive.",
    run=run,
    seconds=70,
    quick_seconds=6,
    plots=(
        *(
            Plot(
                name=f"pubsub-{name}",
                title=f"Messages a second against their size, {pattern}",
                metric="messages/s",
                x="payload",
                where={"pattern": pattern},
                sides=(OURS, BARE),
                log_x=True,
                log_y=True,
            )
            for name, pattern in zip(("one", "fan-out", "fan-in"), PATTERNS, strict=True)
        ),
        Plot(
            name="pubsub-bytes",
            title="Megabytes a second against the size of a message, 1→1",
            metric="MB/s",
            x="payload",
            where={"pattern": "1→1"},
            sides=(OURS, BARE),
            log_x=True,
            log_y=True,
        ),
    ),
)
