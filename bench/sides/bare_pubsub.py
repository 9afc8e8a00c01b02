"""Publishers and subscribers on bare nats-py.

``python -m bench.sides.bare_pubsub URL pub|sub NAME``; see ``bench.sides.pubsub``.
"""

from __future__ import annotations

import asyncio
import sys
import time

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.sides.pubsub import Credit, Order, Report, Tally, order, say

MODULE = "bench.sides.bare_pubsub"


async def subscribe(nc: Client, name: str, given: Order) -> Report:
    """Count what comes."""
    tally = Tally(given)

    async def on_message(_: Msg) -> None:
        if tally.received():
            await nc.publish(given.credit, f"{name} {tally.count}".encode())

    subscription = await nc.subscribe(
        given.subject, cb=on_message, pending_msgs_limit=-1, pending_bytes_limit=-1
    )
    await nc.flush()
    print("listening", flush=True)
    report = await tally.report()
    await subscription.unsubscribe()
    return report


async def publish(nc: Client, given: Order) -> Report:
    """Send as fast as it arrives."""
    credit = Credit(given)

    async def on_credit(message: Msg) -> None:
        credit.heard(message.data)

    subscription = await nc.subscribe(given.credit, cb=on_credit)
    await nc.flush()
    payload, subject, burst = b"x" * given.size, given.subject, given.burst
    begun, cpu = time.monotonic(), time.process_time()
    sent = 0
    while sent < given.share and (sent < credit.limit or await credit.more(sent)):
        for _ in range(min(burst, credit.limit - sent, given.share - sent)):
            await nc.publish(subject, payload)
            sent += 1
        await asyncio.sleep(0)  # publish alone never lets the loop write
    await nc.flush(timeout=60)
    report = Report(sent, begun, time.monotonic(), time.process_time() - cpu)
    await subscription.unsubscribe()
    return report


async def main(url: str, role: str, name: str) -> None:
    """Carry out orders."""
    nc = await nats.connect(url)
    print("ready", flush=True)
    while (given := await order()) is not None:
        say(await (publish(nc, given) if role == "pub" else subscribe(nc, name, given)))
    await nc.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
