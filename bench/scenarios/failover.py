"""SIGKILL under load: of an agent, of a coordinator, of the server.

Each round has a server and processes of its own. Short tasks come at a constant rate, whatever
happens (open loop), and fifty tasks of half a second are in hand when the fault comes. What was
run, where and when, is noted by the handlers themselves.
"""

from __future__ import annotations

from typing import Final

from bench.failover.play import LONG, NAP, RATE, SLOTS, Fault, Seen, play
from bench.harness import notes
from bench.harness.faults import hushed
from bench.harness.figures import Params, Target, at_most
from bench.harness.scenario import Plot, Scenario
from bench.harness.session import Session

AGENT: Final = Fault("agent", "agent")
PAIR: Final = Fault("1 of 2 coordinators", "coordinator", coordinators=2)
ALONE: Final = Fault("only coordinator, restarted", "coordinator")
SERVER: Final = Fault("server, restarted", "server")
UNTOLD: Final = Fault("agent, no disconnect import", "agent", events=False)
FAULTS: Final = (
    AGENT,
    UNTOLD,
    Fault("agent, no disconnect import, no other load", "agent", events=False, load=False),
    PAIR,
    ALONE,
    SERVER,
)


async def run(session: Session) -> None:
    """Every fault once a round."""
    plan = session.plan
    # A smoke test takes one of each kind, and does not wait for as long as users would.
    faults = (UNTOLD, ALONE, SERVER) if plan.quick else FAULTS
    # The lead is longer than a heartbeat interval: the coordinators have heard of all agents.
    lead, rest, ack_wait = (0.3, 0.7, 1.0) if plan.quick else (1.5, plan.seconds(2.5, 0), None)
    with hushed():
        for fault in session.interleaved(faults):
            async with play(fault, ack_wait) as on_stage:
                seen = await on_stage.perform(lead, rest)
            _record(session, fault, seen, lead, rest)
    session.note(
        f"Two agents with {SLOTS} slots each; {RATE} short tasks a second, and {LONG} of {NAP:g} s "
        "in hand. Seconds count from the kill. 'Last restart' and 'last affected result' are "
        "about tasks that were accepted and unfinished then; 'slowest task' is about all. "
        "'Longest gap' is the longest time in which no handler was started. 'Duplicated' are "
        "handlers that were started although an agent that lives had the task: at-least-once "
        "delivery allows that."
    )
    session.note(
        "What was on its way to a killed process, or from it, comes back with the ack wait, 10 s "
        "by default: that is what a slowest task of ten seconds means."
    )


def _record(session: Session, fault: Fault, seen: Seen, lead: float, rest: float) -> None:
    params: Params = {"killed": fault.name}
    at = seen.at

    def seconds(metric: str, value: float, target: Target | None = None) -> None:
        session.record(metric, value, "s", better="lower", target=target, params=params)

    def count(metric: str, value: int, target: Target | None = None) -> None:
        session.record(metric, value, "tasks", better="lower", target=target, params=params)

    if fault.victim == "agent":
        again = notes.restarts(seen.entries, seen.affected, seen.killed, at)
        seconds("last restart", max(again, default=0.0), at_most(0.4) if fault is AGENT else None)
        session.record("restarted", len(again), "tasks", params=params)
    elif seen.back > at:
        seconds("back", seen.back - at)
    if fault.load:
        before = notes.longest_gap(seen.entries, at - lead / 2, at)
        after = notes.longest_gap(seen.entries, at, at + rest)
        seconds("longest gap before", before)
        seconds("longest gap", after, at_most(1.0) if fault is PAIR else None)
    if fault.victim == "server":
        # What came before that was in the client's socket already.
        seconds("first result", min(e - at for e in seen.ended.values() if e > seen.back))
    affected = [seen.ended[task] - at for task in seen.affected & seen.ended.keys()]
    seconds("last affected result", max(affected, default=0.0))
    seconds("slowest task", seen.slowest)
    count("lost", seen.lost, at_most(0))
    count("duplicated", notes.duplicated(seen.entries, seen.killed))
    count("refused results", notes.refused(seen.entries))
    if seen.failures:
        session.note(
            f"{fault}: {len(seen.failures)} tasks were not accepted or not completed, the first "
            f"with: {seen.failures[0]}"
        )


SCENARIO: Final = Scenario(
    name="failover",
    summary="SIGKILL of an agent, a coordinator and the server under a constant load: how long "
    "until all that they had goes on elsewhere, and what is lost or done twice.",
    run=run,
    seconds=150,
    quick_seconds=9,
    plots=(
        Plot(
            name="failover",
            title="Seconds from the kill to the last affected result",
            metric="last affected result",
            x="killed",
            kind="bars",
        ),
    ),
)
