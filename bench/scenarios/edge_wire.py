"""What an idle device says and hears in an hour."""

from __future__ import annotations

from typing import Final

import msgspec

from bench.edge.frames import KINDS, SEGMENT, headers
from bench.edge.quiet import Heard
from bench.harness.figures import Params, at_most
from bench.harness.processes import spawn
from bench.harness.scenario import Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session

FACTOR: Final = 20.0
"""So many times as fast as a real device,"""
QUICK: Final = 100.0
"""and in quick mode."""
LIMIT: Final = 60.0
"""KB (1,000 bytes) an hour, with TCP and IP."""
SERVER_PINGS: Final = 1
"""An hour: the server asks who has been silent for two minutes, which none is, and measures the
round trip once an hour."""
PING: Final = len(b"PING\r\nPONG\r\n")


async def run(session: Session) -> None:
    """One device once a round."""
    plan = session.plan
    seconds = plan.seconds(90.0, 2.0)
    factor = QUICK if plan.quick else FACTOR
    sums = {kind: [0.0, 0.0, 0.0] for kind in KINDS}
    total = 0.0
    for number in range(plan.rounds):
        session.step(f"round {number + 1} of {plan.rounds}: {seconds * factor / 60:.0f} minutes")
        async with server() as made:
            role = ("-m", "bench.edge.quiet", made.url, FLEET, str(factor), str(seconds))
            child = await spawn(*role, timeout=60)
            try:
                heard = msgspec.json.decode(await child.line(seconds + 30), type=Heard)
            finally:
                await child.stop()
        hourly = 3600 / (heard.seconds * factor)
        for kind, counted in heard.kinds.items():
            sums[kind] = [a + b * hourly for a, b in zip(sums[kind], counted, strict=True)]
            params: Params = {"kind": kind}
            session.record("bytes an hour", sum(counted[1:]) * hourly, "B", params=params)
        payload = sum(sum(counted[1:]) for counted in heard.kinds.values()) * hourly
        payload += SERVER_PINGS * PING
        around = headers(heard.segments) * hourly + headers(SERVER_PINGS * 2)
        total = (payload + around) / 1000
        session.record("NATS protocol an hour", payload / 1000, "KB", better="lower")
        session.record("TCP and IP an hour, estimated", around / 1000, "KB", better="lower")
        session.record("on the wire an hour", total, "KB", better="lower", target=at_most(LIMIT))
    rounds = plan.rounds
    table = [
        (kind, *(f"{one / rounds:,.0f}" for one in sums[kind]))
        for kind in KINDS
        if sums[kind][0] or kind != "other"
    ]
    table.append(
        ("the server's pings", f"{2 * SERVER_PINGS}", f"{6 * SERVER_PINGS}", f"{6 * SERVER_PINGS}")
    )
    session.grid("An idle device's hour", ("what", "messages", "bytes up", "bytes down"), table)
    session.note(
        f"One agent at profile wan with its intervals (heartbeat, lease, ping) divided by "
        f"{factor:g}, so that {seconds:g} s are {seconds * factor / 60:g} minutes; what passed is "
        "counted in a proxy and scaled to an hour. Messages differ from real ones by a digit of "
        "an interval here and there. The server pings who has said nothing for two minutes, "
        "which none has, and once an hour to measure the round trip. KB are 1,000 bytes. TCP and "
        f"IP are estimated at {SEGMENT} bytes a segment, each segment acknowledged by one more: "
        "the most that it is."
    )


SCENARIO: Final = Scenario(
    name="edge-wire",
    summary="Bytes on the wire of an idle edge agent in an hour at profile wan, and what makes "
    "them up.",
    run=run,
    seconds=330,
    quick_seconds=6,
)
