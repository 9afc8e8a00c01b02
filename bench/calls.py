"""Calls against a bare nats request to a queue group."""

from __future__ import annotations

import statistics
import time

import nats
from nats.aio.msg import Msg

from bench import ours
from bench.processes import running
from bench.report import Row, at_most
from bus import Client


async def run(url: str, rounds: int, scale: float) -> list[Row]:
    """One caller, one call at a time."""
    count = max(50, int(1500 * scale))
    bare: list[float] = []
    called: list[float] = []
    async with running(
        ("-m", "bench.ours", "coordinator", url),
        ("-m", "bench.ours", "agent", url, "o1"),
        ("-m", "bench.ours", "agent", url, "o2"),
        ("-m", "bench.calls", url),
    ):
        asker = await nats.connect(url)
        async with Client.connect(url, ours.FLEET) as client:
            await client.submit_many("echo", [b"x"] * 200)  # warm up
            for _ in range(rounds):
                took = []
                for _ in range(count):
                    begun = time.perf_counter()
                    await asker.request("bench.bare", b"x" * 128, timeout=5)
                    took.append(time.perf_counter() - begun)
                bare.append(statistics.median(took) * 1000)
                took = []
                for _ in range(count):
                    begun = time.perf_counter()
                    await client.call("echo", b"x" * 128)
                    took.append(time.perf_counter() - begun)
                called.append(statistics.median(took) * 1000)
        await asker.close()
    ratio = tuple(a / b for a, b in zip(called, bare, strict=True))
    return [
        Row("call", "bare nats request, p50", tuple(bare), "ms"),
        Row("call", "call, p50", tuple(called), "ms"),
        Row("call", "call / bare request", ratio, "×", "≤ 2.5", at_most(2.5, ratio)),
    ]


async def _answer(url: str) -> None:
    """The bare side's responder, in a process of its own as our agents are."""
    nc = await nats.connect(url)

    async def echo(message: Msg) -> None:
        await nc.publish(message.reply, message.data)

    await nc.subscribe("bench.bare", "answerers", cb=echo)
    await nc.flush()
    print("ready", flush=True)
    import asyncio

    await asyncio.Event().wait()


if __name__ == "__main__":
    import sys

    import uvloop

    uvloop.run(_answer(sys.argv[1]))
