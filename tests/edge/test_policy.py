"""The fleet's policy: heard while the agent runs, and read when nobody can have told it."""

from __future__ import annotations

import asyncio
from typing import Any

from bus import Bus, Client, codec, store
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire.heartbeat import FleetPolicy
from edge import Agent
from tests.support.edge import running
from tests.support.proxy import Proxy


async def adopt(bus: Bus, policy: FleetPolicy) -> None:
    await store.publish(bus, bus.subjects.config_keys + "policy", codec.encode(policy))


async def test_it_is_read_again_when_the_link_is_back(nats_url: str, bus: Bus) -> None:
    await adopt(bus, FleetPolicy(interval=0.2, lease=20))
    async with (
        Proxy(nats_url) as proxy,
        running(Agent("e1"), proxy.url, bus.subjects.fleet) as runtime,
    ):
        assert runtime.presence.policy["lease"] == 20
        proxy.hold()
        proxy.cut()
        await eventually(lambda: not runtime.client.connected)
        await adopt(bus, FleetPolicy(interval=0.3, lease=30, ack_wait=4.0))
        proxy.release()
        await eventually(lambda: runtime.presence.policy["lease"] == 30)
        assert runtime.presence.policy["ack_wait"] == 4.0

        async def lease() -> bool:
            key = bus.subjects.registry_keys + "e1"
            found = await store.last(bus, bus.subjects.registry_stream, key)
            return found is not None and found.headers.get("Nats-TTL") == "30s"

        await eventually(lease)
        # What was deleted meanwhile is the default again.
        proxy.hold()
        proxy.cut()
        await eventually(lambda: not runtime.client.connected)
        await store.publish(bus, bus.subjects.config_keys + "policy", b"")
        proxy.release()
        await eventually(lambda: runtime.presence.policy["ack_wait"] == 10.0)


async def test_a_shorter_ack_wait_counts_for_what_is_held(nats_url: str, client: Client) -> None:
    bus = client.bus
    fleet = bus.subjects.fleet
    agent = Agent("e1", grace=0.1)

    @agent.capability("wait", params={})
    async def wait(task: Any) -> None:
        await asyncio.sleep(60)

    await adopt(bus, FleetPolicy(ack_wait=60.0))
    said: list[Inbound] = []
    ack = "$JS.ACK.S.c.1.1.1.1790000000000000000.0"
    await bus.listen(ack, said.append)
    await bus.flush()
    async with running(agent, nats_url, fleet) as runtime:
        head = [("Fleet-Capability", "wait"), ("Fleet-Task", "x.1"), ("Fleet-Ack", ack)]
        runtime.client.pub(f"fleet.{fleet}.dispatch.e1", b"{}", head)
        await eventually(lambda: runtime.intake.held)
        assert said == []
        await adopt(bus, FleetPolicy(ack_wait=0.6))
        await eventually(lambda: said, 0.6)
        await eventually(lambda: len(said) > 4, 0.6 * 4)
        assert {one.data for one in said} == {b"+WPI"}
        # Nor was it taken for a device that has stood still.
        head[1] = ("Fleet-Task", "x.2")
        head[0] = ("Fleet-Capability", "nothing")
        answer = await runtime.client.request(f"fleet.{fleet}.dispatch.e1", b"{}", head)
        assert answer.headers["Fleet-Busy"] == "capability"
