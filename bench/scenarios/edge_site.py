"""A site whose link is cut under load: is anything lost or doubled, and does the site go on?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bench.harness.faults import hushed
from bench.harness.figures import Better, Params, Target, at_least, at_most
from bench.harness.latency import Latencies
from bench.harness.scenario import Scenario
from bench.harness.session import Session
from bench.sites.play import AT_HUB, AT_SITE, Seen, Times, play
from bench.sites.proxy import Fault

FAULTS: Final[tuple[Fault, ...]] = ("cut", "silent")
AWAY: Final = 60.0
"""Seconds without the link, times the scale: ``--scale 10`` for ten minutes."""
SHARE: Final = 0.95
"""Of its throughput that the site must keep without the link: arrivals are the same, and a few
tasks are under way when it is cut."""


async def run(session: Session) -> None:
    """Each way to lose the link once a round."""
    plan = session.plan
    # Only the time without the link is scaled: the rest needs no more than this.
    times = Times(idle=15.0, before=10.0, away=plan.seconds(AWAY, 0), after=10.0)
    if plan.quick:
        times = Times(idle=1.2, before=0.7, away=2.0, after=0.7)
    with hushed():
        for fault in session.interleaved(FAULTS[:1] if plan.quick else FAULTS):
            async with play() as on_stage:
                seen = await on_stage.perform(times, fault, _shown(session, fault))
            _record(session, fault, seen)
    session.note(
        f"{AT_SITE:g} tasks a second of 5 ms are submitted at the site and {AT_HUB:g} at the hub "
        "for the site's agents, whatever happens to the link (open loop). It goes through a proxy: "
        "'cut' closes the connection and refuses new ones, 'silent' lets nothing pass and tells "
        "nobody, so that the servers notice it by their pings after 40 to 60 seconds, if at all. "
        "Seconds count from when it is passable again; the site's server tries after one to two "
        "seconds. What both sides have stored is read at the end and compared."
    )
    session.note(
        "'Started twice' are handlers of tasks that an agent had had before, which at-least-once "
        "delivery allows; one result of them is kept. Bytes are of NATS, both ways, without TCP "
        "and IP, with the coordinator's profile lan."
    )


def _shown(session: Session, fault: Fault) -> Callable[[str], None]:
    return lambda text: session.step(f"link {fault}: {text}")


def _record(session: Session, fault: Fault, seen: Seen) -> None:
    params: Params = {"link": fault}
    verdict, site, hub = seen.verdict, seen.site, seen.hub
    zero = at_most(0)

    def count(metric: str, value: int, unit: str = "tasks", target: Target | None = None) -> None:
        better: Better = "lower" if target else ""
        session.record(metric, value, unit, better=better, target=target, params=params)

    def seconds(metric: str, value: float) -> None:
        session.record(metric, value, "s", better="lower", params=params)

    count("submitted at the site", len(site.tasks))
    count("submitted at the hub", len(hub.tasks))
    count("lost: no result at the hub", len(verdict.missing_at_hub), target=zero)
    count("lost: no result at the submitter", len(verdict.missing_at_submitter), target=zero)
    count("not completed", len(verdict.failed), target=zero)
    count("doubled at the hub", verdict.doubled, "results", zero)
    count("doubled at the site", verdict.doubled_at_site, "results", zero)
    count("out of order at the hub", verdict.disordered, "results", zero)
    count("not accepted", len(site.refused) + len(hub.refused))
    count("started twice", seen.again)
    count("waited at the site", verdict.queued, "results")
    if seen.linked is not None:
        seconds("linked again after", seen.linked - seen.mended)
    if verdict.queued:
        seconds("from the site, first at the hub after", seen.first)
        seconds("from the site, last at the hub after", seen.last)
    waited = [
        one.ended - seen.mended for one in hub.tasks.values() if one.due < seen.mended <= one.ended
    ]
    if waited:
        count("waited at the hub", len(waited))
        seconds("from the hub, last done after", max(waited))
    _rates(session, fault, seen)
    for side, submitter in (("site", site), ("hub", hub)):
        for what, problems in (
            ("not accepted", submitter.refused),
            ("not waited for to the end", submitter.unheard),
        ):
            if problems:
                session.note(
                    f"link {fault}: {len(problems)} tasks were {what} at the {side}, the first "
                    f"with: {problems[0]!r}"
                )
    for what, names in (
        ("hub", verdict.missing_at_hub),
        ("submitter", verdict.missing_at_submitter),
    ):
        if names:
            session.note(f"link {fault}: no result at the {what} of {', '.join(names[:5])}")


def _rates(session: Session, fault: Fault, seen: Seen) -> None:
    """What the site did before the fault, without the link, and after it."""
    spans = {
        "before": (seen.begun, seen.severed),
        "without link": (seen.severed, seen.mended),
        "after": (seen.mended, seen.ended),
    }
    rates = {}
    for phase, span in spans.items():
        params: Params = {"link": fault, "phase": phase}
        rates[phase] = seen.site.rate_between(*span)
        session.record(
            "results/s at the site", rates[phase], "tasks/s", better="higher", params=params
        )
        took = Latencies.of(seen.site.took(*span))
        session.latency(took, side="site", open_loop=True, params=params)
    session.record(
        "results/s at the site, without link / before",
        rates["without link"] / rates["before"] if rates["before"] else 0.0,
        "×",
        better="higher",
        target=at_least(SHARE),
        params={"link": fault},
    )
    session.record("bytes an hour, idle", seen.idle_bytes / 1e6, "MB", params={"link": fault})
    session.record("bytes a task", seen.task_bytes, "B", better="lower", params={"link": fault})


SCENARIO: Final = Scenario(
    name="edge-site",
    summary="A site under load whose link to the hub is cut, and comes back: tasks lost, results "
    "doubled or out of order, how the site does meanwhile, and how soon the hub has all.",
    run=run,
    seconds=640,
    quick_seconds=9,
    by_default=False,
)
