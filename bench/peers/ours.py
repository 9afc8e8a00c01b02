"""``python -m bench.peers.ours driver JSON``: our client as a driver among those of the peers."""

from __future__ import annotations

import uvloop

from bench.harness.servers import FLEET
from bench.peers.scripts.loop import nap_of
from bench.peers.scripts.script import Setup, serve
from bus import Client


async def drive(setup: Setup) -> None:
    """The same loop as theirs over the public client."""
    async with Client.connect(setup.server, FLEET) as client:

        async def operation(data: str) -> object:
            seconds, log = nap_of(data)
            if seconds:
                napping = await client.submit("nap", {"log": log, "seconds": seconds})
                await napping.result()
                return data
            handle = await client.submit("echo", data.encode())
            return (await handle.result()).decode()

        await serve(operation, "nats-py")


if __name__ == "__main__":
    uvloop.run(drive(Setup.read()))
