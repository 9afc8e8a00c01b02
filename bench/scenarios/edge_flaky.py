"""A thousand devices with bad links for ten minutes: is anything lost?"""

from __future__ import annotations

from typing import Final

from bench.edge.plan import Plan
from bench.edge.simulation import Outcome, simulate
from bench.harness.faults import hushed
from bench.harness.figures import at_most
from bench.harness.scenario import Scenario
from bench.harness.session import Session

DEVICES: Final = 1000
SECONDS: Final = 600.0
QUICK: Final = Plan(devices=12, seconds=2.5, rate=10.0, every=0.5, hurry=15.0, patience=10.0)


async def run(session: Session) -> None:
    """Once, however many rounds there are to be."""
    plan = session.plan
    chosen = QUICK if plan.quick else Plan(seconds=plan.seconds(SECONDS, 0), seed=plan.seed)
    with hushed():
        found = await simulate(chosen, lambda text, left: session.step(text))
    _record(session, found)


def _record(session: Session, found: Outcome) -> None:
    tally, tasks, readings = found.report.tally, found.tasks, found.readings
    for metric, count, unit in (
        ("without a terminal result", len(tasks.unfinished), "tasks"),
        ("duplicate results", tasks.duplicates, "tasks"),
        ("expired before their deadline", tasks.early, "tasks"),
        ("lost", found.lost, "readings"),
        ("doubled", readings.doubled, "readings"),
        ("out of order", readings.disordered, "readings"),
        ("with a wrong time", readings.misdated, "readings"),
        ("stuck in spools", found.kept, "records"),
        ("that never came back", found.plan.devices - tally.joined, "devices"),
        ("left over", len(found.leaked), "tasks of the loop"),
    ):
        session.record(metric, count, unit, better="lower", target=at_most(0))
    for metric, value, unit in (
        ("submitted", tasks.submitted, "tasks"),
        ("run again", found.again, "tasks"),
        ("run again in one boot", found.twice, "tasks"),
        ("taken", readings.taken, "readings"),
        ("stored", readings.stored, "readings"),
        ("dated before the broker told the time", readings.undated, "readings"),
        ("dropped for want of room", tally.dropped, "readings"),
        ("in memory when the power went", tally.carried, "readings"),
        ("partitions", tally.partitions, "times"),
        ("half-open", tally.half_open, "times"),
        ("resets", tally.resets, "times"),
        ("reconnects", found.reconnects, "times"),
        ("reboots", tally.reboots, "times"),
        ("memory of a device", found.memory, "KB"),
        ("a device on the wire", found.bytes_per_hour / 1000, "KB/h"),
        ("settled after", found.settled, "s"),
        ("timers late", found.late, "s"),
    ):
        session.record(metric, value, unit)
    for state, count in sorted(tasks.states.items()):
        session.record("ended", count, "tasks", params={"state": state})
    session.note(
        f"{found.plan.devices:,} devices with profile {found.plan.profile} for "
        f"{found.seconds:g} s, seed {found.plan.seed}: real edge agents, each with a connection "
        "and a spool of its own; see 'fleetbus edge simulate --help'. Memory is with the "
        "simulated link, bytes are without TCP and IP and with tasks and readings. Timers that "
        "are late by much say that this machine was too slow for so many."
    )


SCENARIO: Final = Scenario(
    name="edge-flaky",
    summary="Many edge agents on bad links that lose their power, too: whether each task has a "
    "terminal result, and each reading arrives in order and once.",
    run=run,
    seconds=840,
    quick_seconds=12,
    by_default=False,
)
