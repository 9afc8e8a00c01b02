"""Other people's task systems beside ours: the same payload, workers, load and loop.

Every side has a server, two worker processes and one client process of its own; the sides take
turns, and all clients run the same closed loop (``bench/peers/scripts/loop.py``). Peers are set
up as fast as their documentation allows; what that is, and what each promises, is in the notes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness.errors import BenchError, Missing
from bench.harness.figures import Params, Target, at_least
from bench.harness.latency import Latencies
from bench.harness.scenario import Percentiles, Plot, Scenario
from bench.harness.session import Session
from bench.peers.catalogue import CELERY, CELERY_LATE, FASTSTREAM_TYPED, OURS, PEERS
from bench.peers.deaths import NAP, TASKS, Fate, kill_one
from bench.peers.environment import PLACE
from bench.peers.peer import Peer
from bench.peers.processes import Mortal
from bench.peers.redis_server import find_redis, version
from bench.peers.side import Side, running

OUTSTANDING: Final = (1, 64, 512)
HELD: Final = 64
"""Tasks outstanding at which the targets hold."""
SECONDS: Final = 1.25
"""Seconds of each load, plus what its last tasks take."""
RATE, CPU = "tasks/s", "CPU a task"
LOST, BACK = "lost after SIGKILL", "back after SIGKILL"
VARIANTS: Final = (CELERY_LATE, FASTSTREAM_TYPED)
SHOWN: Final = tuple(peer.name for peer in (OURS, *PEERS) if peer not in VARIANTS)
"""Sides in the pictures, where nine of them would be too many to tell apart."""
WITHIN: Final = 30.0
"""Seconds after which the results of a killed worker's tasks count as lost."""


@dataclass(frozen=True)
class Case:
    """One load on one side."""

    side: str
    outstanding: int

    def __str__(self) -> str:
        return f"{self.side}, {self.outstanding} outstanding"

    @property
    def params(self) -> Params:
        return {"outstanding": self.outstanding}


async def run(session: Session) -> None:
    """With the environments that ``make bench-peers`` has made."""
    await measure(session, (OURS, *PEERS), PLACE)


async def measure(session: Session, peers: Sequence[Peer], place: Path) -> None:
    """Speed first, then what becomes of the tasks of a killed worker.

    Args:
        peers: ours is the first.
        place: where the environments are; a peer whose environment is missing is skipped.
    """
    left = await _speed(session, peers, place)
    _compare(session, left)
    # Its code is the same for all, and in a smoke test nobody waits for the others' timeouts.
    await _deaths(session, left[:1] if session.plan.quick else left, place)


async def _speed(session: Session, peers: Sequence[Peer], place: Path) -> list[Peer]:
    """The peers that could be measured in all rounds."""
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for peer in peers:
            session.step(f"starting {peer.name}")
            try:
                side = await stack.enter_async_context(running(peer, place))
                await side.order(outstanding=HELD, seconds=session.plan.seconds(0.5, 0.05))
            except BenchError as error:
                _skip(session, peer, error)
            else:
                sides[peer.name] = side
        for case in session.interleaved([Case(s, load) for load in OUTSTANDING for s in sides]):
            if (found := sides.get(case.side)) is None:
                continue
            try:
                await _load(session, case, found)
            except BenchError as error:
                _skip(session, found.peer, error)
                del sides[case.side]
        await _describe(session, list(sides.values()), place)
        return [side.peer for side in sides.values()]


def _skip(session: Session, peer: Peer, error: BenchError) -> None:
    """A peer that is missing, or fails, costs no more than its own figures; we must not."""
    if peer is OURS:
        raise error
    if isinstance(error, Missing):
        session.skip(peer.name, str(error))
    else:
        session.skip(peer.name, f"it failed, and has no figures from there on: {error}")


async def _load(session: Session, case: Case, side: Side) -> None:
    used = side.cpu()
    load, _ = await side.order(
        outstanding=case.outstanding, seconds=session.plan.seconds(SECONDS, 0.05)
    )
    used = side.cpu() - used
    done = len(load.check().took)
    session.record(RATE, load.rate, RATE, side=case.side, better="higher", params=case.params)
    session.record(CPU, used / done * 1e6, "µs", side=case.side, better="lower", params=case.params)
    session.latency(Latencies.of(load.took), side=case.side, params=case.params)


def _compare(session: Session, left: Sequence[Peer]) -> None:
    """Ours against each, and the targets."""
    held: Params = {"outstanding": HELD}
    durable = {
        figure.median: peer
        for peer in left
        if peer is not OURS
        and peer.guarantees.durable
        and (figure := session.figure(RATE, peer.name, held)) is not None
    }
    fastest = durable[max(durable)] if durable else None
    targets: dict[str, Target] = {CELERY.name: at_least(18)}
    if fastest is not None:
        targets[fastest.name] = at_least(5)
        session.note(f"The fastest durable peer at {HELD} outstanding was {fastest.name}.")
    for peer in left:
        if peer is OURS:
            continue
        for outstanding in OUTSTANDING:
            target = targets.get(peer.name) if outstanding == HELD else None
            params: Params = {"outstanding": outstanding}
            session.ratio(RATE, OURS.name, peer.name, target=target, params=params)
        session.ratio(CPU, OURS.name, peer.name, params=held)


async def _deaths(session: Session, left: Sequence[Peer], place: Path) -> None:
    """All at the same time, because most of it is waiting; two start at a time."""
    session.step("killing workers")
    gate = asyncio.Semaphore(2)
    fates = await asyncio.gather(
        *(kill_one(peer, WITHIN, place, gate) for peer in left), return_exceptions=True
    )
    for peer, fate in zip(left, fates, strict=True):
        if isinstance(fate, Fate):
            session.record(LOST, fate.lost, "tasks", side=peer.name, better="lower")
            if not fate.lost:
                session.record(BACK, fate.seconds, "s", side=peer.name, better="lower")
        elif isinstance(fate, BenchError):
            _skip(session, peer, fate)
        else:
            raise fate
    session.note(
        f"'{LOST}': of {TASKS} tasks of {NAP:g} s on two workers, one of which was killed with "
        f"its share in hand; '{BACK}': from then until the last result, if all came within "
        f"{WITHIN:g} s. Peers that wait for a timeout were told {Mortal().recovery:g} s, where "
        "they can be told; their defaults are in the notes."
    )


async def _describe(session: Session, sides: Sequence[Side], place: Path) -> None:
    session.grid(
        "What each guarantees, by its documentation",
        ("system", "persisted before submit returns", "survives a worker's death", "result stored"),
        [
            (side.peer.name, str(kept.persisted), str(kept.survives), str(kept.stored))
            for side in sides
            for kept in (side.peer.guarantees,)
        ],
    )
    for side in sides:
        session.note(side.peer.note(side.versions))
    if any(side.peer.server.startswith("redis") for side in sides):
        session.note(f"Redis was {await version(find_redis(place))}.")


SCENARIO: Final = Scenario(
    name="peers",
    summary="Tasks of 128 bytes from one client process over two worker processes of each "
    "system, which answer with the payload; each peer with its documented fast settings.",
    run=run,
    seconds=170,
    quick_seconds=10,
    plots=(
        Plot(
            name="peers-throughput",
            title="Tasks a second, ours and peers (2 worker processes each)",
            metric=RATE,
            x="outstanding",
            kind="bars",
            sides=SHOWN,
        ),
        Percentiles(
            name="peers-latency",
            title=f"Latency of a task, {HELD} outstanding (closed loop)",
            where={"outstanding": HELD},
            sides=SHOWN,
        ),
    ),
)
