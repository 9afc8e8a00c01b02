"""Configuration from Git: how long until a commit is in force everywhere, and what drift costs.

Each size has a server, a coordinator and simulated agents of its own, and a real bare repository
that ``watch`` looks at once a second.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.gitops import drifting
from bench.gitops.listener import Listener, listening
from bench.gitops.repository import KEYS, Commits, values
from bench.gitops.spreading import Spread, commit_and_wait, everywhere, syncing
from bench.harness.figures import Params, at_most
from bench.harness.scenario import Plot, Scenario
from bench.harness.servers import server
from bench.harness.session import Session
from bench.simulated import stage
from bench.simulated.stage import Agents, Observed
from bench.simulated.traffic import slow_consumers
from bus.config.merge import digest, merged
from bus.server import NatsServer

SIZES: Final = (1_000, 10_000)
QUICK: Final = 40
LAYERS: Final = 5

INTERVAL: Final = 1.0
"""Seconds between two looks at the branch."""

JOINING: Final = 120.0

SAID: Final = "reported by 99 %"
AFTER: Final = "after the write"
IN_SYNC, SPOILED = "in sync", "10 % drift"


async def run(session: Session) -> None:
    """Merging, then each size once a round."""
    _merge(session)
    rng = random.Random(session.plan.seed)
    for size in session.interleaved((QUICK,) if session.plan.quick else SIZES):
        await _fleet(session, size, rng)
    session.note(
        "'reported' counts from before a commit is written to the repository until a listener "
        "hears the heartbeat with the hash that it makes of the agent, over all agents and five "
        f"commits a round. The branch is looked at every {INTERVAL:g} s, and commits come at any "
        f"time between two looks; '{AFTER}' counts from the head on the bus. A commit changes one "
        f"or more of six layers, which make {KEYS} keys, and is checked against a JSON Schema"
    )
    session.note(
        "the agents are simulated and share connections, 1,000 each. Each has five subscriptions "
        "for its layers, follows them by the rules of the runtime and fetches them when it joins; "
        "what a layer says is decoded once for a connection, and put together once for all to "
        "whom the same layers apply. Server, coordinator, sync and agents share the machine"
    )
    session.note(
        "dropped messages: what the listener, the coordinator and the agents could not read, "
        "heartbeats whose numbers never came, and connections that the server closed because "
        "they did not read"
    )


def _merge(session: Session) -> None:
    """Five layers of 200 keys, each replacing all that is there, in processor time."""
    layers = [values(mark) for mark in range(LAYERS)]
    count = session.plan.count(2_000, 20)
    for _ in range(session.plan.rounds):
        session.step("merging layers")
        begun = time.thread_time_ns()
        for _ in range(count):
            digest(merged(layers))
        session.record(
            "merge and hash, processor time",
            (time.thread_time_ns() - begun) / count / 1e6,
            "ms",
            better="lower",
            params={"layers": LAYERS, "keys": KEYS},
            target=at_most(1),
        )


async def _fleet(session: Session, size: int, rng: random.Random) -> None:
    params: Params = {"agents": size}
    interval = 0.5 if session.plan.quick else INTERVAL
    spread = Spread()
    with tempfile.TemporaryDirectory() as directory, Commits(Path(directory) / "repo") as commits:
        async with (
            server() as made,
            stage.agents(made.url, size) as agents,
            stage.coordinator(made.url) as seeing,
            listening(made.url) as listener,
        ):
            await agents.join()
            await seeing.until(size, JOINING)
            await agents.settle(session.plan.seconds(1.0, 0.1))
            commit = commits.commit()
            async with syncing(made.url, commits.folder, interval):
                await everywhere(listener, commit, size)
                for _ in range(session.plan.count(5, 1)):
                    await asyncio.sleep(rng.uniform(0.0, interval))  # at any time between looks
                    await commit_and_wait(commits, listener, size, spread)
                _record(session, params, spread)
                await _dropped(session, params, made, listener, seeing, agents)
                await _drift(session, params, made, IN_SYNC)
                follow = await drifting.spoil(agents)
                commit = commits.commit()
                await everywhere(listener, commit, follow)
            await _drift(session, params, made, SPOILED)


def _record(session: Session, params: Params, spread: Spread) -> None:
    size = int(params["agents"])
    for side, took in (("ours", sorted(spread.reported)), (AFTER, sorted(spread.after_write))):
        last = len(took) - 1
        for metric, place in (
            ("reported by half", last // 2),
            (SAID, last * 99 // 100),
            ("reported by the last", last),
        ):
            aimed = metric == SAID and side == "ours" and size == SIZES[0]
            session.record(
                metric,
                took[place],
                "s",
                side=side,
                better="lower",
                params=params,
                target=at_most(3) if aimed else None,
            )
    written = statistics.median(spread.written)
    session.record("written to the bus", written, "s", better="lower", params=params)
    session.record(
        "never reported", spread.missing, "", better="lower", params=params, target=at_most(0)
    )


async def _dropped(
    session: Session,
    params: Params,
    made: NatsServer,
    listener: Listener,
    seeing: Observed,
    agents: Agents,
) -> None:
    report = await agents.report()
    dropped = (
        listener.missed
        + listener.bus.dropped
        + report.dropped
        + (await seeing.report()).dropped
        + await slow_consumers(made)
    )
    session.record(
        "dropped messages", dropped, "", better="lower", params=params, target=at_most(0)
    )
    fetches = report.fetches / agents.count
    session.record("fetches of the layers, each agent", fetches, "", params=params)
    session.record("an agent's clock late by", report.late, "s", better="lower", params=params)


async def _drift(session: Session, params: Params, made: NatsServer, fleet: str) -> None:
    """Who drifts, asked of all agents: by the library, and by the command as a process."""
    size = int(params["agents"])
    params = {**params, "fleet": fleet}
    spoiled = fleet == SPOILED
    asked = await drifting.ask(made.url, size, spoiled, session.plan.count(3, 1))
    target = at_most(2) if size == SIZES[1] else None
    session.record("drift report", asked.took, "s", better="lower", params=params, target=target)
    session.record(
        "drift report, processor time", asked.processor, "s", better="lower", params=params
    )
    session.record(
        "wrong verdicts", asked.wrong, "", better="lower", params=params, target=at_most(0)
    )
    took = await drifting.command(made.url, size, spoiled)
    session.record("drift report", took, "s", side="whole command", better="lower", params=params)


SCENARIO: Final = Scenario(
    name="config",
    summary="A commit in a Git repository until 1,000 and 10,000 simulated agents say that they "
    "have what it makes of them; merging 200 keys; and asking all of them who drifts.",
    run=run,
    seconds=180,
    quick_seconds=4,
    plots=(
        Plot(
            name="config",
            title="From a commit until 99 % of agents report it (s)",
            metric=SAID,
            x="agents",
            kind="bars",
            sides=("ours", AFTER),
        ),
    ),
)
