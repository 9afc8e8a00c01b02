"""A bare NATS request: the caller, the server, a responder, and nothing else.

What one would write without a framework. Responders that share a queue group are given requests
by the server at random, whatever each of them is doing.

``python -m bench.sides.bare_request URL SUBJECT [GROUP]`` is a responder that answers with the
payload.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import nats
import uvloop
from nats.aio.msg import Msg

SUBJECT: Final = "bench.request"
GROUP_SUBJECT: Final = "bench.group"
GROUP: Final = "responders"

Ask = Callable[[bytes], Awaitable[bytes]]


def command(url: str) -> tuple[str, ...]:
    """What ``spawn`` starts the only responder on ``SUBJECT`` with."""
    return ("-m", "bench.sides.bare_request", url, SUBJECT)


def group_command(url: str) -> tuple[str, ...]:
    """What ``spawn`` starts one of the responders on ``GROUP_SUBJECT`` with."""
    return ("-m", "bench.sides.bare_request", url, GROUP_SUBJECT, GROUP)


@asynccontextmanager
async def asker(url: str, subject: str) -> AsyncIterator[Ask]:
    """Sends a payload to ``subject`` and returns the answer."""
    nc = await nats.connect(url)

    async def ask(payload: bytes) -> bytes:
        return (await nc.request(subject, payload, timeout=10)).data

    try:
        yield ask
    finally:
        await nc.close()


async def answer(url: str, subject: str, group: str) -> None:
    """Respond with the payload."""
    nc = await nats.connect(url)

    async def echo(message: Msg) -> None:
        await message.respond(message.data)

    await nc.subscribe(subject, group, cb=echo, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await nc.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    address, where, *rest = sys.argv[1:]
    uvloop.run(answer(address, where, *rest or ("",)))
