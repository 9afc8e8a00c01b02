"""Publishers and subscribers on ``bus.connection``, as tools beside the fleet use it.

``python -m bench.sides.our_pubsub URL pub|sub NAME``; see ``bench.sides.pubsub``.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from bench.harness.servers import FLEET
from bench.sides.pubsub import Credit, Order, Report, Tally, order, say
from bus import Bus, connect
from bus.transport import Inbound

MODULE = "bench.sides.our_pubsub"


async def subscribe(bus: Bus, name: str, given: Order) -> Report:
    """Count what comes."""
    tally = Tally(given)

    def on_message(_: Inbound) -> None:
        if tally.received():
            bus.send(given.credit, f"{name} {tally.count}".encode())

    subscription = await bus.listen(given.subject, on_message)
    await bus.flush()
    print("listening", flush=True)
    report = await tally.report()
    await bus.unlisten(subscription)
    return report


async def publish(bus: Bus, given: Order) -> Report:
    """Send as fast as it arrives."""
    credit = Credit(given)
    subscription = await bus.listen(given.credit, lambda message: credit.heard(message.data))
    await bus.flush()
    payload, subject, burst = b"x" * given.size, given.subject, given.burst
    begun, cpu = time.monotonic(), time.process_time()
    sent = 0
    while sent < given.share and (sent < credit.limit or await credit.more(sent)):
        for _ in range(min(burst, credit.limit - sent, given.share - sent)):
            bus.send(subject, payload)
            sent += 1
        await asyncio.sleep(0)  # send alone never lets the loop write
    await bus.flush(timeout=60)
    report = Report(sent, begun, time.monotonic(), time.process_time() - cpu)
    await bus.unlisten(subscription)
    return report


async def main(url: str, role: str, name: str) -> None:
    """Carry out orders."""
    async with connect(url, FLEET) as bus:
        print("ready", flush=True)
        while (given := await order()) is not None:
            say(await (publish(bus, given) if role == "pub" else subscribe(bus, name, given)))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
