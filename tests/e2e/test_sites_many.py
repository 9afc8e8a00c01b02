"""Sites with more of everything: coordinators, agents, listeners."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.simulated.agent import SimulatedAgent
from bench.simulated.carrier import Carrier
from bench.simulated.crew import SITES
from bench.simulated.timers import Timers
from bus import Client, codec
from bus.client.commands import Tally
from bus.client.handle import TaskHandle
from bus.leash import leashed
from bus.subjects import Subjects
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire.site import SiteReport
from coordinator import Coordinator
from coordinator.sites.hub import HubSites, owner
from tests.support import certificates
from tests.support.site_scene import Scene, scene, worker
from tests.support.sites import land

CREW = 200


@asynccontextmanager
async def colleague(one: Scene) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another coordinator at the site, as a process, that looks after the link from now on."""
    names = [f"l{n}" for n in range(2, 99)]
    better = next(name for name in names if owner("s1", ["l1", name]) == name)
    line = ["-m", "fleetbus", "coordinator", "--name", better, "--site", "s1"]
    process = await asyncio.create_subprocess_exec(
        *leashed([sys.executable, *line]),
        env={
            **os.environ,
            "FLEETBUS_URL": one.there["s1"].url,
            "FLEETBUS_FLEET": one.there.fleet,
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await eventually(lambda: one.uplink.pump is None, timeout=15)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_coordinator_of_a_site_dies_under_load_without_the_link(tmp_path: Path) -> None:
    async with scene(tmp_path) as one, colleague(one) as second:
        handles: list[TaskHandle] = []

        async def load(client: Client, select: str, count: int) -> None:
            for n in range(count):
                text = f"{client is one.above} {len(handles)} {n}"
                handles.append(await client.submit("echo", {"text": text}, select=select))

        await load(one.above, "site=s1", 100)
        await load(one.below, "", 50)
        await one.cut()
        loads = [
            asyncio.create_task(load(one.below, "", 300)),
            asyncio.create_task(load(one.above, "site=s1", 100)),
        ]
        await eventually(lambda: len(handles) > 250)
        second.kill()
        await asyncio.gather(*loads)
        await eventually(lambda: one.uplink.pump is not None, timeout=10)
        await one.mend()
        for handle in handles:
            assert str(await handle.result(timeout=20)).endswith("at s1")
        await eventually(lambda: one.has(one.above, len(handles)), timeout=10)
        found = await one.results(one.above)
        assert set(found) == {handle.id for handle in handles}
        assert max(found.values()) == 1


async def test_one_of_two_coordinators_leaves_and_the_site_stays(tmp_path: Path) -> None:
    async with scene(tmp_path) as one, colleague(one) as second:
        await eventually(lambda: one.sites.links["s1"].record is not None)

        def reporter() -> str:
            report = one.sites.links["s1"].known.last
            return report.coordinator if report is not None else ""

        await eventually(lambda: reporter() not in ("", "l1"), timeout=8)
        second.terminate()
        assert await second.wait() == 0
        await eventually(lambda: reporter() == "l1", timeout=8)
        assert one.connected()
        assert not await one.events(one.above, "site.disconnected")


def agents_of(site: int) -> Iterable[int]:
    """Numbers of simulated agents at one site."""
    return range(site, site + CREW * SITES, SITES)


async def test_many_agents_at_a_site_are_one_message_on_the_link(tmp_path: Path) -> None:
    async with land(tmp_path, "site-3") as there:
        hub = Coordinator.connect(there.hub.url, there.fleet, name="h1")
        site = Coordinator.connect(there["site-3"].url, there.fleet, name="l1", site="site-3")
        async with hub, site, Client.connect(there.hub.url, there.fleet) as above:
            reports: list[SiteReport] = []
            heard: set[str] = set()

            def on_report(message: Inbound) -> None:
                reports.append(codec.decode(SiteReport, message.data))

            def on_heartbeat(message: Inbound) -> None:
                heard.add(message.subject.rsplit(".", 1)[1])

            subjects = above.bus.subjects
            await above.bus.listen(subjects.site_reports, on_report)
            await above.bus.listen(subjects.heartbeats, on_heartbeat)
            timers = Timers()
            numbers = list(agents_of(3))
            crew = Carrier(
                there["site-3"].url,
                Subjects(there.fleet),
                numbers,
                timers,
                lambda: None,
                lambda _: None,
                seed=3,
            )
            await crew.link.connect()
            try:
                joined(crew.agents)
                sites = hub.sites
                assert isinstance(sites, HubSites)
                await eventually(
                    lambda: (
                        "site-3" in sites.links and len(sites.links["site-3"].known.beats) == CREW
                    ),
                    timeout=10,
                )

                async def shown() -> bool:
                    return len(await above.agents()) == CREW

                await eventually(shown, timeout=10)
                assert {card.relay for card in await above.agents()} == {"site-3"}
                # None of them is looked after here, and all of them are heard of.
                assert not hub.view.agents
                await eventually(lambda: len(heard) == CREW)
                # At rest: for all heartbeats of all agents one report a second, and a small one.
                await asyncio.sleep(1.5)
                reports.clear()
                before, beats = there.links["site-3"].bytes, crew.beats
                await asyncio.sleep(3.0)
                crossed = there.links["site-3"].bytes - before
                assert crew.beats - beats > 2 * CREW
                assert 2 <= len(reports) <= 4
                assert not [report for report in reports if report.cards]
                assert crossed < 20_000
            finally:
                timers.stop()
                await crew.stop()


def joined(agents: Iterable[SimulatedAgent]) -> None:
    for agent in agents:
        agent.join()


async def test_a_broadcast_crosses_the_link_and_its_replies_come_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        for n in range(2, 6):
            await one.agent(one.there["s1"].url, worker(f"a{n}", "s1", one.ran))
        await one.agent(one.there.hub.url, worker("b1", "default", one.ran))
        everybody = {"a1", "a2", "a3", "a4", "a5", "b1"}

        async def shown() -> bool:
            return {card.agent for card in await one.above.agents()} == everybody

        await eventually(shown)
        tally = await ping(one, timeout=5)
        assert tally.expected == everybody
        assert tally.succeeded == 6
        tally = await ping(one, select="site=s1", timeout=5)
        assert tally.expected == everybody - {"b1"}
        assert tally.succeeded == 5
        tally = await ping(one, batch=2, timeout=5)
        assert tally.succeeded == 6
        # Without the link it says who has not answered.
        await one.cut()
        tally = await ping(one, timeout=1)
        assert tally.outstanding == sorted(everybody - {"b1"})


async def ping(one: Scene, **options: Any) -> Tally:
    """Ask all at the hub that match; who has answered once, and who has not."""
    broadcast = one.above.broadcast("ping", **options)
    answers = [reply.agent async for reply in broadcast]
    assert len(answers) == len(set(answers))
    return broadcast.tally


async def test_the_link_may_be_encrypted(tmp_path: Path) -> None:
    secure = certificates.make(tmp_path / "tls")
    async with scene(tmp_path, secure=secure) as one:
        handle = await one.above.submit("echo", {"text": "far"}, select="site=s1")
        assert await handle.result(timeout=8) == "far at s1"
        await one.cut()
        handle = await one.below.submit("echo", {"text": "own"})
        assert await handle.result(timeout=8) == "own at s1"
        await one.mend()
        await eventually(lambda: one.has(one.above, 2), timeout=8)
        assert not one.there.links["s1"].readable
        assert one.there.links["s1"].bytes > 1000
    (tmp_path / "plain").mkdir()
    async with scene(tmp_path / "plain") as one:
        assert one.there.links["s1"].readable, "it would be seen if it were not encrypted"
