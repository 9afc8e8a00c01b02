"""``fleetbus edge simulate``: many devices with bad links, and what becomes of their work."""

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from bench.edge.simulation import Outcome

HELP = """Run many simulated devices with bad links, and account for each task and reading.

Each device is the real edge agent with a TCP connection and a spool of its own. Its link has the
latency, jitter, bandwidth and loss of a profile; it is reset, cut for seconds to minutes, or
forgotten by one end only. Devices lose their power without a goodbye and start again on the same
spool; some have a wrong clock, some none. Meanwhile a client submits tasks and devices send
readings. Then all links are mended, and what the broker has is compared with what was sent.

By default it runs on a server and a coordinator of its own, in a temporary directory; with --url
in a fleet that is there and has a coordinator. Ctrl-C leaves nothing behind.

Exits with 1 if a task has no terminal result, or if anything else is found that must not be.

Examples:

  fleetbus edge simulate

  fleetbus edge simulate -n 1000 --profile flaky-3g --minutes 10

  fleetbus edge simulate -n 100 --profile nb-iot --minutes 2 --json | jq .tasks.states

  fleetbus edge simulate --list
"""
MOST = 5000
"""Devices: each takes four files and 70 KB."""


def simulate(
    count: Annotated[
        int, typer.Option("--devices", "-n", metavar="N", min=1, max=MOST, help="Devices.")
    ] = 100,
    name: Annotated[
        str, typer.Option("--profile", "-p", metavar="NAME", help="What their links are like.")
    ] = "flaky-3g",
    minutes: Annotated[
        float, typer.Option(metavar="X", help="With accidents and load; settling comes on top.")
    ] = 2.0,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="X", show_default=False, help="Tasks a second; by default one for 50 devices."
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", help="Between two readings of a device.")
    ] = 10.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Another one draws other accidents.")] = 1,
    url: Url = None,
    fleet: Fleet = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the profiles.")] = False,
    as_json: Json = False,
) -> None:
    if listing:
        _list(as_json)
        return
    for option, value, most in (("--minutes", minutes, 10_000), ("--every", every, 86_400)):
        if not 0 < value <= most:
            raise typer.BadParameter(f"{option} {value:g} is not above 0 and up to {most}")
    if rate is not None and not 0 < rate <= 1000:
        raise typer.BadParameter(f"--rate {rate:g} is not above 0 and up to 1000")
    raise typer.Exit(
        run(_simulate(count, name, minutes, rate or count / 50, every, seed, url, fleet, as_json))
    )


async def _simulate(
    count: int,
    name: str,
    minutes: float,
    rate: float,
    every: float,
    seed: int,
    url: str | None,
    fleet: str | None,
    as_json: bool,
) -> Exit:
    from bench.edge.plan import Plan
    from bench.edge.profiles import profile
    from bench.edge.simulation import simulate as simulated
    from bench.harness.errors import BenchError
    from bench.harness.faults import hushed
    from bench.harness.servers import FLEET
    from fleetbus.benchmark.progress import progress

    try:
        profile(name)
    except BenchError as error:
        raise typer.BadParameter(f"{error} ('--list' explains them)") from None
    plan = Plan(
        profile=name,
        devices=count,
        seconds=60 * minutes,
        rate=rate,
        every=every,
        seed=seed,
        # Two runs in one fleet, at once or one after the other, share nothing.
        run=f"sim{int(time.time()) % 1_000_000:06d}" if url else "sim",
    )
    told = _until_told()
    try:
        with progress() as shown, hushed():
            shown.scenario(name, 1, 1)
            found = await simulated(plan, shown.step, url or "", fleet or ("dev" if url else FLEET))
    except asyncio.CancelledError:
        if told:
            raise typer.Exit(128 + signal.SIGTERM) from None
        raise
    if as_json:
        console.print_document(_document(found))
    else:
        _show(found)
    for fault in found.faults:
        console.say(fault, "fault", "31")
    return Exit.FAILED if found.faults else Exit.OK


def _until_told() -> list[bool]:
    """Have SIGTERM end this task as Ctrl-C does; the list says whether it came."""
    told: list[bool] = []
    task = asyncio.current_task()

    def end() -> None:
        told.append(True)
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    return told


def rows(found: "Outcome") -> list[tuple[str, str]]:
    """What the table says. Pure."""
    tally, tasks, readings = found.report.tally, found.tasks, found.readings
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(tasks.states.items()))
    return [
        ("tasks submitted", f"{tasks.submitted:,}"),
        ("terminal results", states or "none"),
        ("without a terminal result", f"{len(tasks.unfinished):,}"),
        ("duplicate results", f"{tasks.duplicates:,}"),
        ("expired before their deadline", f"{tasks.early:,}"),
        ("run twice", f"{found.again:,}, in one boot {found.twice:,}"),
        ("slowest", console.duration(tasks.slowest)),
        ("readings taken", f"{readings.taken:,}"),
        ("stored", f"{readings.stored:,}"),
        ("dropped for want of room", f"{tally.dropped:,}"),
        ("in memory when the power went", f"{tally.carried:,}"),
        ("lost", f"{found.lost:,}"),
        ("doubled", f"{readings.doubled:,}"),
        ("out of order", f"{readings.disordered:,}"),
        ("with a wrong time", f"{readings.misdated:,}"),
        ("the same before the broker told it", f"{readings.undated:,}"),
        ("partitions", f"{tally.partitions:,}, half-open {tally.half_open:,}"),
        ("resets", f"{tally.resets:,}"),
        ("reconnects", f"{found.reconnects:,}"),
        ("reboots", f"{tally.reboots:,}"),
        ("memory per device", f"{found.memory:,.0f} KB with its simulated link"),
        ("bytes per device and hour", f"{found.bytes_per_hour:,.0f}, without TCP and IP"),
        ("settled after", console.duration(found.settled)),
        ("timers late", f"at most {found.late:.2g} s: this machine's fault"),
    ]


def _show(found: "Outcome") -> None:
    made = console.table("", ">what became of it")
    for row in rows(found):
        made.add_row(*row)
    console.stdout().print(made)
    plan = found.plan
    console.hint(
        f"{plan.devices:,} devices, {plan.profile}, {console.duration(found.seconds)}, "
        f"seed {plan.seed}"
    )


def _document(found: "Outcome") -> dict[str, Any]:
    """All of it, and what is worked out from it."""
    made: dict[str, Any] = console.full(found)
    for name in ("bytes_per_hour", "memory", "reconnects", "faults"):
        made[name] = getattr(found, name)
    return made


def _list(as_json: bool) -> None:
    from bench.edge.profiles import PROFILES

    if as_json:
        console.print_document(list(PROFILES))
        return
    made = console.table("profile", "what")
    for one in PROFILES:
        made.add_row(one.name, one.sentence)
    console.stdout().print(made)
