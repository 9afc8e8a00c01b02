"""A command to all agents: how long until everybody has answered, and whether anybody is missed.

Beside it the same replies gathered by a bare nats-py inbox, with no roster to hold them against
and nobody who reads them.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import nats
from nats.aio.msg import Msg

from bench.harness.errors import BenchError
from bench.harness.figures import Params, at_most
from bench.harness.scenario import Plot, Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bench.simulated import stage
from bus import Client, codec
from bus.subjects import Subjects
from bus.wire.command import Command

SIZES: Final = (100, 1_000, 10_000)
QUICK: Final = 50
OURS, FLOOR = "ours", "bare inbox"
IN_FULL: Final = "answered in full"
"""From the call to the last reply, the look at who is expected included."""
TIMEOUT: Final = 20.0


async def run(session: Session) -> None:
    """Each size on a server of its own, ours and the floor in turn."""
    for size in (QUICK,) if session.plan.quick else SIZES:
        session.step(f"{size:,} agents join")
        async with (
            server() as made,
            stage.coordinator(made.url) as seeing,
            stage.agents(made.url, size) as agents,
        ):
            await agents.join()
            await seeing.until(size, timeout=120)
            await agents.settle(1.0)
            async with Client.connect(made.url, FLEET) as client:
                await client.broadcast("ping", timeout=TIMEOUT).freeze()  # warm up
                for side in session.interleaved((OURS, FLOOR)):
                    if side == OURS:
                        await _ours(session, client, size)
                    else:
                        await _floor(session, made.url, size)
        session.ratio(IN_FULL, OURS, FLOOR, params={"agents": size})
    session.note(
        "the agents are simulated: a process answers for all of them, and evaluates the "
        "selector and encodes the reply for each. The floor knows nobody and reads no reply; "
        "'answered in full' counts from the call, the roster included"
    )


async def _ours(session: Session, client: Client, size: int) -> None:
    begun = time.perf_counter()
    broadcast = client.broadcast("ping", timeout=TIMEOUT)
    await broadcast.freeze()
    roster = time.perf_counter() - begun
    came = [time.perf_counter() - begun async for _ in broadcast]
    if not came:
        raise BenchError(f"none of {size} agents answered a command")
    tally = broadcast.tally
    params: Params = {"agents": size}
    target = at_most(2000) if size == 10_000 else None
    for metric, seconds in (
        ("roster", roster),
        ("first reply", came[0]),
        ("99 % of replies", came[max(0, len(came) * 99 // 100 - 1)]),
    ):
        session.record(metric, seconds * 1000, "ms", better="lower", params=params)
    lost, unexpected = len(tally.outstanding), len(tally.unexpected)
    last = TIMEOUT if lost else came[-1]  # not in full: as bad as can be
    session.record(IN_FULL, last * 1000, "ms", better="lower", params=params, target=target)
    session.record("lost replies", lost, "", better="lower", target=at_most(0), params=params)
    session.record("unexpected replies", unexpected, "", target=at_most(0), params=params)


async def _floor(session: Session, url: str, size: int) -> None:
    """The same command with an inbox of nats-py's, which counts."""
    connection = await nats.connect(url)
    came: list[float] = []
    done = asyncio.Event()

    async def on_reply(_: Msg) -> None:
        came.append(time.perf_counter())
        if len(came) == size:
            done.set()

    try:
        inbox = connection.new_inbox()
        await connection.subscribe(
            inbox, cb=on_reply, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        await connection.flush()
        data = codec.encode(Command("floor", "ping"))
        begun = time.perf_counter()
        await connection.publish(Subjects(FLEET).command_all, data, reply=inbox)
        async with asyncio.timeout(TIMEOUT):
            await done.wait()
    except TimeoutError as error:
        raise BenchError(f"{len(came)} of {size} agents answered the bare inbox") from error
    finally:
        await connection.close()
    params: Params = {"agents": size}
    for metric, at in (
        ("first reply", came[0]),
        ("99 % of replies", came[max(0, size * 99 // 100 - 1)]),
        (IN_FULL, came[-1]),
    ):
        took = (at - begun) * 1000
        session.record(metric, took, "ms", side=FLOOR, better="lower", params=params)


SCENARIO: Final = Scenario(
    name="broadcast",
    summary="One command to 100, 1,000 and 10,000 simulated agents over the public client: who "
    "is expected is read from the registry first, and held against who answers.",
    run=run,
    seconds=30,
    quick_seconds=3,
    plots=(
        Plot(
            name="broadcast",
            title="A command to all agents: time until all have answered (ms)",
            metric=IN_FULL,
            x="agents",
            sides=(OURS, FLOOR),
            log_x=True,
            log_y=True,
        ),
    ),
)
