"""A hub and its sites: with the link, without it, and after it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from agent_runtime import Agent
from bus import Client, codec, connect, store, topology
from bus.client import config as layers
from bus.client import records
from bus.client.handle import TaskHandle
from bus.leash import leashed
from bus.subjects import Subjects
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.config import ConfigLayer
from bus.wire.site import SitePolicy
from coordinator import Coordinator
from coordinator.sites.hub import HubSites, owner
from coordinator.sites.uplink import Uplink
from fleetbus import site_list
from fleetbus.app import app
from fleetbus.roster import Roster
from tests.support.sites import Land, land


def worker(name: str, site: str, ran: list[str], *capabilities: str) -> Agent:
    agent = Agent(name, site=site, slots=8, grace=1.0)

    async def echo(text: str) -> str:
        ran.append(text)
        return f"{text} at {site}"

    for capability in capabilities or ("echo",):
        agent.capability(capability)(echo)
    return agent


@dataclass
class Scene:
    """A hub and the site s1, a coordinator each, an agent at the site, a client on each side."""

    there: Land
    stack: AsyncExitStack
    hub: Coordinator
    site: Coordinator
    above: Client
    below: Client
    ran: list[str]

    @property
    def sites(self) -> HubSites:
        assert isinstance(self.hub.sites, HubSites)
        return self.hub.sites

    @property
    def uplink(self) -> Uplink:
        assert isinstance(self.site.sites, Uplink)
        return self.site.sites

    def connected(self) -> bool:
        return "s1" in self.sites.links and self.sites.links["s1"].place.connected

    async def agent(self, url: str, agent: Agent) -> Any:
        return await self.stack.enter_async_context(agent.connect(url, self.there.fleet))

    async def results(self, client: Client) -> Counter[str]:
        """Task ids of the results that one side has, each as often as it is stored."""
        subjects = client.bus.subjects
        prefix = len(subjects.results.removesuffix("*.*"))
        return Counter(
            [
                h.find(one.block, "Nats-Subject")[prefix:]
                async for one in store.scan(client.bus, subjects.results_stream, subjects.results)
            ]
        )


@asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[Scene]:
    ran: list[str] = []
    async with land(directory, "s1") as there, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        hub, site, fleet = there.hub.url, there["s1"].url, there.fleet
        quick: dict[str, Any] = {"reconnect_max": 0.3, "request_timeout": 2.0}
        made = Scene(
            there,
            stack,
            await enter(Coordinator.connect(hub, fleet, name="h1", **quick)),
            await enter(Coordinator.connect(site, fleet, name="l1", site="s1", **quick)),
            await enter(Client.connect(hub, fleet, **quick)),
            await enter(Client.connect(site, fleet, **quick)),
            ran,
        )
        await made.agent(site, worker("a1", "s1", ran))
        await eventually(made.connected)
        yield made


async def test_one_fleet_while_the_link_is_up(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        handle = await one.below.submit("echo", {"text": "own"})
        assert await handle.result(timeout=5) == "own at s1"
        handle = await one.above.submit("echo", {"text": "far"}, select="site=s1")
        assert await handle.result(timeout=5) == "far at s1"
        assert await one.above.tasks.get(handle.id) != "submitted"
        # The hub has the results of both, the site its own task only: nothing echoes back.
        await eventually(lambda: _has(one, one.above, 2))
        assert max((await one.results(one.above)).values()) == 1
        [card] = await eventually(one.above.agents)
        assert (card.agent, card.relay) == ("a1", "s1")
        assert "a1" not in one.hub.view.agents
        await records.event(one.below.bus, "told", "a1", by="test", data={"n": 1})
        await eventually(lambda: _events(one.above, "told"))


async def _has(one: Scene, client: Client, count: int) -> bool:
    return len(await one.results(client)) >= count


async def _events(client: Client, kind: str) -> list[Any]:
    subjects = client.bus.subjects
    pattern = subjects.event(kind, "*")
    return [one async for one in store.scan(client.bus, subjects.events_stream, pattern)]


async def test_a_site_that_is_cut_off_goes_on_and_nothing_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as one:
        link = one.there.links["s1"]
        handles = []
        for fault in ("cut", "kill the hub", "kill the site"):
            before = [await one.below.submit("echo", {"text": f"{fault} b{n}"}) for n in range(50)]
            handed = [
                await one.above.submit("echo", {"text": f"{fault} h{n}"}, select="site=s1")
                for n in range(50)
            ]
            if fault == "cut":
                link.sever()
                await eventually(lambda: not one.connected(), timeout=8)
                away = [
                    await one.below.submit("echo", {"text": f"{fault} a{n}"}) for n in range(200)
                ]
                for handle in away:
                    assert str(await handle.result(timeout=10)).endswith("at s1")
                for n in range(100):
                    await records.event(one.below.bus, "told", f"e{n}")
                later = [
                    await one.above.submit("echo", {"text": f"{fault} l{n}"}, select="site=s1")
                    for n in range(50)
                ]
                assert [card.agent for card in await one.above.agents()] == ["a1"]
                handles += away + later
                link.mend()
            else:
                server = one.there.hub if "hub" in fault else one.there["s1"]
                await server.kill()
                await server.start()
            await eventually(one.connected, timeout=10)
            handles += before + handed
            for handle in handed:
                assert str(await handle.result(timeout=20)).endswith("at s1")
        await eventually(lambda: _has(one, one.above, len(handles)), timeout=10)
        found = await one.results(one.above)
        assert set(found) == {handle.id for handle in handles}
        assert max(found.values()) == 1
        told = [h.find(event.block, "Nats-Subject") for event in await _events(one.above, "told")]
        assert [subject.rsplit(".", 1)[1] for subject in told] == [f"e{n}" for n in range(100)]
        kinds = [len(await _events(one.above, f"site.{k}")) for k in ("connected", "disconnected")]
        assert kinds[0] >= 2
        assert kinds[1] >= 1
        assert one.hub.monitor.lost == 0


async def test_configuration_and_cancellation_flow_down(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        layer = ConfigLayer({"a": 1})
        await layers.put(one.above.bus, "fleet", layer, 0)

        async def copied() -> bool:
            now = (await layers.current(one.below.bus)).layers.stored
            return "fleet" in now and now["fleet"].layer == layer

        await eventually(copied)
        # A task that waits at the site, where nobody offers it.
        one.there.links["s1"].sever()
        await eventually(lambda: not one.connected(), timeout=8)
        handle = await one.above.submit("echo", {"text": "never"}, select="agent=a1")
        await eventually(lambda: one.sites.handover.handed >= 1)
        assert await one.above.cancel(handle.id)
        # Another ends there by its deadline.
        late = await one.above.submit("echo", {"text": "late"}, select="agent=a1", deadline=1.0)
        assert (await late.outcome(timeout=6)).state == "expired"
        one.there.links["s1"].mend()
        await eventually(one.connected, timeout=8)
        other = await one.above.submit("echo", {"text": "then"}, select="agent=a1")
        assert await other.result(timeout=5) == "then at s1"
        assert not {"never", "late"} & set(one.ran)


async def test_agents_of_a_site_that_is_cut_off_are_away_and_not_lost(tmp_path: Path) -> None:
    async with scene(tmp_path) as one, Roster(one.above.bus) as roster:
        await eventually(lambda: [row.state() for row in roster.rows()] == ["ready"])
        assert roster.rows()[0].card.relay == "s1"
        one.there.links["s1"].sever()
        await eventually(lambda: [row.state() for row in roster.rows()] == ["away"])
        [site] = await site_list.read(one.above.bus)
        assert (site.connected, site.agents, site.record and site.record.why) == (
            False,
            1,
            "the link ended",
        )
        await one.above.submit("echo", {"text": "x"}, select="site=s1")
        await eventually(lambda: one.sites.handover.handed == 1)
        [site] = await site_list.read(one.above.bus)
        assert site.waiting == 1
        one.there.links["s1"].mend()
        await eventually(lambda: [row.state() for row in roster.rows()] == ["ready"])
        [site] = await site_list.read(one.above.bus)
        assert site.connected
        assert site.report is not None
        assert one.hub.monitor.lost == 0
        # It leaves, and the hub hears of it.
        other = worker("a2", "s1", one.ran)
        async with other.connect(one.there["s1"].url, one.there.fleet):
            await eventually(lambda: roster.row("a2"))
        await eventually(lambda: roster.row("a2") is None)
        assert roster.row("a1") is not None
        # A site that is there is not forgotten, one that is gone is, with its agents.
        command = ["site", "forget", "s1", "-u", one.there.hub.url, "-f", one.there.fleet]
        done = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert done.exit_code == 1
        assert "is connected" in done.stderr
        one.there.links["s1"].sever()
        await eventually(lambda: [row.state() for row in roster.rows()] == ["away"])
        done = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert done.exit_code == 0, done.stderr
        await eventually(lambda: not roster.rows() and "s1" not in one.sites.links)
        assert not await site_list.read(one.above.bus)


async def test_nothing_of_one_site_crosses_the_link_of_another(tmp_path: Path) -> None:
    async with land(tmp_path, "s1", "s2") as there, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        seen: dict[str, list[str]] = {"hub": [], "s1": [], "s2": []}

        def note(name: str, message: Inbound) -> None:
            seen[name].append(message.subject)

        buses = {}
        urls = {"hub": there.hub.url, "s1": there["s1"].url, "s2": there["s2"].url}
        for name, url in urls.items():
            bus = buses[name] = await enter(connect(url, there.fleet))
            await topology.ensure(bus)
            for subject in ("fleet.>", "$KV.>", "_INBOX.>", "$JS.ACK.>"):
                await bus.listen(subject, partial(note, name))
            await bus.flush()

        async def linked() -> bool:
            for one in ("s1", "s2"):
                answer = await buses["hub"].request(f"$JS.site-{one}.API.INFO")
                if answer.status:
                    return False
            return True

        await eventually(linked)
        names = Subjects(there.fleet)
        kinds = {
            "task": names.task("echo", "p1", "me.1"),
            "result": names.result("me.1"),
            "hb": names.heartbeat("s1", "a1"),
            "dispatch": names.dispatch("a1"),
            "event": names.event("lost", "a1"),
            "config": f"{names.config_keys}layer.fleet",
            "registry": f"{names.registry_keys}a1",
            "cmd": names.command_all,
            "cancel": names.cancel("echo", "me.1"),
            "other's report": names.site_report("s2"),
            "other's nudge": names.site_nudge("s2"),
            "own report": names.site_report("s1"),
            "own nudge": names.site_nudge("s1"),
        }

        async def heard(of: str, subject: str) -> set[str]:
            for one in seen.values():
                one.clear()
            buses[of].send(subject, b"{}")
            for _ in range(2):  # there, and what it leads to
                for bus in buses.values():
                    await bus.flush()
            await asyncio.sleep(0.05)  # nothing can be waited for where nothing is to come
            return {name for name, subjects in seen.items() if subject in subjects}

        found = {kind: await heard("s1", subject) for kind, subject in kinds.items()}
        assert found == {kind: {"s1"} for kind in kinds} | {"own report": {"s1", "hub"}}
        found = {kind: await heard("hub", subject) for kind, subject in kinds.items()}
        everywhere = {"hub", "s1", "s2"}
        assert found == {kind: {"hub"} for kind in kinds} | {
            "cmd": everywhere,
            "cancel": everywhere,
            "own nudge": {"hub", "s1"},
            "other's nudge": {"hub", "s2"},
        }
        # A site's people see no more of the hub's server than its own tasks and configuration.
        for verb in ("INFO", "STREAM.NAMES", f"STREAM.INFO.{names.tasks_stream}"):
            for domain in ("hub", "site-s2"):
                try:
                    answer = await buses["s1"].request(f"$JS.{domain}.API.{verb}", timeout=0.2)
                except TimeoutError:
                    continue
                assert answer.status == "503", (domain, verb)


async def test_big_payloads_cross_with_tasks_that_go_down_and_up(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        await one.agent(one.there.hub.url, worker("b1", "default", one.ran, "sum"))
        big = "x" * 2_000_000
        down = await one.above.submit("echo", {"text": big}, select="site=s1")
        assert await down.result(timeout=15) == f"{big} at s1"
        # Nobody at the site offers this.
        up = await one.below.submit("sum", {"text": big})
        assert await up.result(timeout=15) == f"{big} at default"


async def test_spill_is_configuration(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        busy = Agent("b1", slots=1, grace=1.0)
        release = asyncio.Event()

        @busy.capability("echo")
        async def echo(text: str) -> str:
            if text == "block":
                await release.wait()
            return f"{text} at the hub"

        await one.agent(one.there.hub.url, busy)
        await eventually(lambda: "b1" in one.hub.view.agents)
        blocked = [await one.above.submit("echo", {"text": "block"}) for _ in range(9)]
        await eventually(lambda: one.hub.view.agents["b1"].room == 0)
        waits = await one.above.submit("echo", {"text": "waits"})
        await asyncio.sleep(0.5)  # long enough for it to go, if it did
        assert not one.ran, "never: the site is given nothing that somebody here offers"
        url, fleet = one.there.hub.url, one.there.fleet
        command = ["site", "spill", "s1", "when-full", "--url", url, "--fleet", fleet]
        done = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert done.exit_code == 0, done.output
        assert await waits.result(timeout=8) == "waits at s1"
        release.set()
        for handle in blocked:
            await handle.result(timeout=10)
        [site] = await site_list.read(one.above.bus)
        assert site.policy.spill == "when-full"
        await eventually(lambda: one.uplink.place.policy == site.policy)


async def test_another_coordinator_takes_a_site_over(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        fleet, hub = one.there.fleet, one.there.hub.url
        names = [f"h{n}" for n in range(2, 9)]
        better = next(name for name in names if owner("s1", ["h1", name]) == name)
        second = await asyncio.create_subprocess_exec(
            *leashed([sys.executable, "-m", "fleetbus", "coordinator", "--name", better]),
            env={**os.environ, "FLEETBUS_URL": hub, "FLEETBUS_FLEET": fleet},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await eventually(lambda: not one.sites.links["s1"].pumps, timeout=10)

            async def submitted(first: int, last: int) -> list[TaskHandle]:
                return [
                    await one.above.submit("echo", {"text": str(n)}, select="site=s1")
                    for n in range(first, last)
                ]

            handles = await submitted(0, 100)
            for handle in handles[:50]:
                await handle.result(timeout=10)
        finally:
            second.kill()
            await second.wait()
        handles += await submitted(100, 150)
        for handle in handles:
            await handle.result(timeout=20)
        found = await one.results(one.above)
        assert {handle.id for handle in handles} <= set(found)
        assert max(found.values()) == 1


async def test_a_task_goes_from_one_site_to_another_if_that_is_allowed(tmp_path: Path) -> None:
    ran: list[str] = []
    async with land(tmp_path, "s1", "s2") as there, AsyncExitStack() as stack:
        enter, fleet = stack.enter_async_context, there.fleet
        hub = await enter(Coordinator.connect(there.hub.url, fleet, name="h1"))
        for name in ("s1", "s2"):
            await enter(Coordinator.connect(there[name].url, fleet, name=f"l-{name}", site=name))
        await enter(worker("a2", "s2", ran, "sum").connect(there["s2"].url, fleet))
        below = await enter(Client.connect(there["s1"].url, fleet))
        above = await enter(Client.connect(there.hub.url, fleet))
        sites = hub.sites
        assert isinstance(sites, HubSites)
        await eventually(lambda: "s2" in sites.links and bool(sites.links["s2"].place.briefs))
        handle = await below.submit("sum", {"text": "x"})
        await eventually(lambda: bool(sites.links["s1"].pumps) and _moved(sites, "s1"), timeout=8)
        assert not ran, "s2 takes nothing from s1 by default"
        policy = SitePolicy(accepts=("hub", "s1"))
        key = f"{above.bus.subjects.config_keys}spill.s2"
        await store.publish(above.bus, key, codec.encode(policy))
        assert await handle.result(timeout=10) == "x at s2"


def _moved(sites: HubSites, site: str) -> bool:
    pumps = sites.links[site].pumps
    return any(one.moved for name, one in pumps.items() if name.startswith("SITES_"))
