"""Faults that are made on purpose, and the quiet that they need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import nats


async def cut_connections(system_url: str) -> int:
    """Have the server close every connection of the fleet's account; returns how many.

    Args:
        system_url: of the embedded server's system account.
    """
    nc = await nats.connect(system_url)
    try:
        body = msgspec.json.encode({"acc": "FLEET", "limit": 10_000})
        answer = msgspec.json.decode(
            (await nc.request("$SYS.REQ.SERVER.PING.CONNZ", body, timeout=5)).data
        )
        server, connections = answer["server"]["id"], answer["data"]["connections"]
        # A request and not a message: the server does nothing for who wants no answer.
        await asyncio.gather(
            *(
                nc.request(
                    f"$SYS.REQ.SERVER.{server}.KICK",
                    msgspec.json.encode({"cid": one["cid"]}),
                    timeout=5,
                )
                for one in connections
            )
        )
        return len(connections)
    finally:
        await nc.close()


@contextmanager
def hushed() -> Iterator[None]:
    """Without the fleet's warnings in this process: what they would say is done on purpose."""
    log = logging.getLogger("fleetbus")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
