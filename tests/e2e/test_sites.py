"""A hub and its sites: with the link, without it, and after it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from bus import connect, topology
from bus.client import config as layers
from bus.client import records
from bus.client.handle import TaskHandle
from bus.leash import leashed
from bus.subjects import Subjects
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.config import ConfigLayer
from coordinator.sites.hub import owner
from fleetbus import site_list
from fleetbus.roster import Roster
from tests.support.site_scene import scene, worker
from tests.support.sites import land


async def test_one_fleet_while_the_link_is_up(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        handle = await one.below.submit("echo", {"text": "own"})
        assert await handle.result(timeout=5) == "own at s1"
        handle = await one.above.submit("echo", {"text": "far"}, select="site=s1")
        assert await handle.result(timeout=5) == "far at s1"
        assert await one.above.tasks.get(handle.id) != "submitted"
        # The hub has the results of both, the site its own task only: nothing echoes back.
        await eventually(lambda: one.has(one.above, 2))
        assert max((await one.results(one.above)).values()) == 1
        [card] = await eventually(one.above.agents)
        assert (card.agent, card.relay) == ("a1", "s1")
        assert "a1" not in one.hub.view.agents
        await records.event(one.below.bus, "told", "a1", by="test", data={"n": 1})
        await eventually(lambda: one.events(one.above, "told"))


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
        await eventually(lambda: one.has(one.above, len(handles)), timeout=10)
        found = await one.results(one.above)
        assert set(found) == {handle.id for handle in handles}
        assert max(found.values()) == 1
        told = [
            h.find(event.block, "Nats-Subject") for event in await one.events(one.above, "told")
        ]
        assert [subject.rsplit(".", 1)[1] for subject in told] == [f"e{n}" for n in range(100)]
        kinds = [
            len(await one.events(one.above, f"site.{k}")) for k in ("connected", "disconnected")
        ]
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
        done = await one.fleetbus("site", "forget", "s1")
        assert done.status == 1
        assert "is connected" in done.err
        one.there.links["s1"].sever()
        await eventually(lambda: [row.state() for row in roster.rows()] == ["away"])
        done = await one.fleetbus("site", "forget", "s1")
        assert done.status == 0, done.err
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
            await eventually(lambda: not one.sites.links["s1"].hauling.pumps, timeout=10)

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
