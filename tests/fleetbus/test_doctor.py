"""``fleetbus doctor`` on servers that are well and on servers that are not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_runtime import Agent
from bus import Bus, codec, topology
from bus.client import config as layers
from bus.server import NatsServer
from bus.server_config import ServerConfig
from bus.server_probe import find_binary
from bus.subjects import Subjects
from bus.testing import eventually
from bus.topology import TopologySettings
from bus.wire.config import ConfigHead, ConfigLayer
from bus.wire.site import SitePolicy, SiteRecord
from bus.wire.task import ErrorInfo
from coordinator import Coordinator
from fleetbus.diagnosis.judge import judge_clock, judge_lanes, judge_streams
from fleetbus.diagnosis.links import judge_hub, judge_sites
from fleetbus.site_link import Upward
from fleetbus.site_list import Row
from tests.conftest import Join
from tests.e2e.test_task_path import echo_agent
from tests.support.cli import Done, fleetbus


def levels(done: Done) -> dict[str, str]:
    """The worst level of each check."""
    order = ["ok", "warn", "fail"]
    found: dict[str, str] = {}
    for one in done.json():
        found[one["check"]] = max(found.get(one["check"], "ok"), one["level"], key=order.index)
    return found


async def test_healthy_fleet(
    nats_url: str, fleet: str, bus: Bus, coordinator: Coordinator, join: Join
) -> None:
    await join(echo_agent())

    async def lanes() -> bool:
        page = await bus.api(f"CONSUMER.NAMES.{bus.subjects.tasks_stream}")
        return len(page.get("consumers") or []) == 3

    await eventually(lanes)
    done = await fleetbus("doctor", "--json", "-u", nats_url, "-f", fleet)
    assert done.status == 0, done.out
    found = levels(done)
    # One server with one copy of everything: that is what the suite runs on.
    assert found.pop("durability") == "warn"
    assert set(found.values()) == {"ok"}, done.out
    assert set(found) >= {"server", "jetstream", "streams", "lanes", "coordinators", "clock"}
    assert done.err == ""


async def test_what_it_tries_can_be_read_by_others(nats_url: str, fleet: str, bus: Bus) -> None:
    heard: list[ErrorInfo] = []
    await bus.listen(
        bus.subjects.all_cancels, lambda one: heard.append(codec.decode(ErrorInfo, one.data))
    )
    await fleetbus("doctor", "-u", nats_url, "-f", fleet)
    await eventually(lambda: heard)


async def test_text_says_how_to_mend(nats_url: str, fleet: str) -> None:
    done = await fleetbus("doctor", "-u", nats_url, "-f", fleet)
    assert done.status == 1
    assert "fail coordinators" in done.out
    assert f"fix: fleetbus coordinator --fleet {fleet}" in done.out


async def test_no_server() -> None:
    done = await fleetbus("doctor", "--json", "-u", "nats://127.0.0.1:1")
    assert done.status == 1
    assert levels(done) == {"server": "fail"}
    assert "connection refused" in done.json()[0]["message"]


async def test_wrong_fleet(nats_url: str) -> None:
    done = await fleetbus("doctor", "--json", "-u", nats_url, "-f", "no-such-fleet")
    assert done.status == 1
    assert levels(done)["streams"] == "fail"


async def test_server_without_disconnect_events() -> None:
    async with NatsServer(config=ServerConfig(disconnect_events=False)) as server:
        done = await fleetbus("doctor", "--json", "-u", server.url)
    assert levels(done)["disconnects"] == "warn"


async def test_stream_that_was_changed(nats_url: str, fleet: str, bus: Bus) -> None:
    name = bus.subjects.events_stream
    config = (await bus.api(f"STREAM.INFO.{name}"))["config"]
    await bus.api(f"STREAM.UPDATE.{name}", {**config, "max_age": 3600 * 1_000_000_000})
    await bus.api(f"STREAM.DELETE.{bus.subjects.dead_stream}")
    done = await fleetbus("doctor", "--json", "-u", nats_url, "-f", fleet)
    said = [one["message"] for one in done.json() if one["check"] == "streams"]
    assert any(name in text and "max_age" in text for text in said)
    assert any(text == f"{bus.subjects.dead_stream} is missing" for text in said)


async def test_missing_permissions_and_jetstream_are_named(tmp_path: Path) -> None:
    """A bare server without JetStream, with a user who may read nothing and command nobody."""
    config = tmp_path / "nats.conf"
    config.write_text(
        f'host: 127.0.0.1\nport: -1\nports_file_dir: "{tmp_path}"\n'
        "authorization { users: [{ user: u, password: p, permissions: {\n"
        '  subscribe: { deny: ["fleet.dev.hb.>", "fleet.dev.event.>"] }\n'
        '  publish: { deny: ["fleet.dev.cmd.>"] } } }] }\n'
    )
    process = await asyncio.create_subprocess_exec(
        str(find_binary()), "-c", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        import json

        files = await eventually(lambda: list(tmp_path.glob("*.ports")))
        ports: dict[str, Any] = await eventually(lambda: json.loads(files[0].read_text() or "{}"))
        url = ports["nats"][0]
        done = await fleetbus(
            "doctor", "--json", "-u", url, FLEETBUS_USER="u", FLEETBUS_PASSWORD="p"
        )
    finally:
        process.kill()
        await process.wait()
    assert done.status == 1
    assert levels(done)["jetstream"] == "fail"
    said = " ".join(one["message"] for one in done.json() if one["check"] == "permissions")
    assert "subscribe to fleet.dev.hb.*.*" in said
    assert "subscribe to fleet.dev.event.>" in said
    assert "publish to fleet.dev.cmd.agent.doctor-" in said
    assert "fleet.dev.task" not in said


PLAN = topology.streams(Subjects("dev"), TopologySettings(), 2)


def info(**changes: Any) -> dict[str, dict[str, Any]]:
    """The plan as a server would report it, with changes to RESULTS."""
    found = {name: {"config": dict(config), "state": {}} for name, config in PLAN.items()}
    found["RESULTS_dev"]["config"].update(changes)
    return found


@pytest.mark.parametrize(
    ("existing", "level", "said"),
    [
        (info(), "ok", "as planned"),
        (info(storage="memory"), "fail", "storage is 'memory', wanted 'file'"),
        (info(max_age=5), "warn", "max_age is 5"),
        ({}, "fail", "is missing"),
    ],
)
def test_streams_are_judged(existing: dict[str, Any], level: str, said: str) -> None:
    found = judge_streams(PLAN, existing)
    assert found[0].level == level
    assert said in found[0].message


@pytest.mark.parametrize(
    ("offered", "lanes", "waiting", "level", "said"),
    [
        ({"a"}, {("a", "p0"): 0}, {}, "ok", "1 capabilities offered, 0 tasks wait"),
        ({"a"}, {("a", "p0"): None}, {}, "fail", "capability a is offered and has no consumer"),
        (set(), {}, {"my-cap-p1": 7}, "warn", "7 tasks wait for my-cap"),
        ({"a"}, {("a", "p1"): 3}, {"a-p1": 3}, "ok", "3 tasks wait"),
    ],
)
def test_lanes_are_judged(
    offered: set[str],
    lanes: dict[tuple[str, str], int | None],
    waiting: dict[str, int],
    level: str,
    said: str,
) -> None:
    found = judge_lanes(offered, lanes, waiting)
    assert found[0].level == level
    assert said in found[0].message


LINK = SiteRecord("berlin", False, 1, "the link is down")


@pytest.mark.parametrize(
    ("hub", "level", "said"),
    [
        (None, "warn", "which no agent offers"),
        (LINK, "ok", "which no agent here offers: the hub takes them when the link is back"),
        (SiteRecord("berlin", True, 1), "ok", "which no agent here offers: the hub takes them"),
    ],
)
def test_what_nobody_at_a_site_offers_is_not_to_be_canceled(
    hub: SiteRecord | None, level: str, said: str
) -> None:
    [found] = judge_lanes(set(), {}, {"my-cap-p1": 7}, hub)
    assert found.level == level
    assert found.message == f"7 tasks wait for my-cap (my-cap-p1), {said}"
    assert ("cancel" in found.fix) == (hub is None)


def test_links_are_judged() -> None:
    found = judge_hub(Upward(LINK, SitePolicy(), 236, {"RESULTS_dev": 12, "EVENTS_dev": 3}))
    assert found.level == "warn"
    assert "this is site berlin, and its link to the hub is down for " in found.message
    assert "(the link is down); 236 tasks and 15 results and other messages" in found.message
    assert judge_hub(Upward(SiteRecord("berlin", True, 1), SitePolicy(), 0, {})).level == "ok"
    assert not judge_sites([])
    rows = [Row("berlin", LINK, agents=3, waiting=7), Row("paris", SiteRecord("paris", True, 1))]
    away, others = judge_sites(rows)
    assert away.level == "warn"
    assert away.message.startswith("site berlin is disconnected, down for ")
    assert away.message.endswith("(the link is down): 3 agents, 7 tasks wait for it")
    assert (others.level, others.message) == ("ok", "1 of 2 connected")


async def test_an_agent_without_a_configuration_that_fits_is_named(
    nats_url: str, fleet: str, bus: Bus, coordinator: Coordinator, join: Join
) -> None:
    class Model(msgspec.Struct):
        model: str

    async def configure(values: dict[str, Any], commit: str) -> None:
        before = await layers.current(bus)
        await layers.commit(bus, {"global": ConfigLayer(values)}, ConfigHead(commit), before)

    await configure({"model": 7}, "one")
    await join(Agent("a1", config=Model))
    where = ("-u", nats_url, "-f", fleet)
    done = await fleetbus("doctor", "--json", *where)
    assert done.status == 1
    [found] = [one for one in done.json() if one["check"] == "agents" and one["level"] == "fail"]
    assert found["message"].startswith("agent a1 takes no tasks: its configuration was rejected: ")
    assert "model" in found["message"]
    assert "fleetbus config explain a1" in found["fix"]
    shown = await fleetbus("agents", *where)
    assert "draining: configuration rejected" in shown.out
    # One that keeps its last good configuration drifts, and works.
    await configure({"model": "m"}, "two")
    await configure({"model": 8}, "three")
    done = await fleetbus("doctor", "--json", *where)
    assert levels(done)["config"] == "warn"
    assert levels(done)["agents"] == "ok"


@pytest.mark.parametrize(
    ("skew", "error", "level", "said"),
    [
        (0.0, 0.001, "ok", "within 1 ms"),
        (0.9, 0.001, "ok", "within 900 ms"),
        (2.0, 0.001, "warn", "2 s behind the server"),
        (-2.0, 0.001, "warn", "2 s ahead of the server"),
        (6.0, 0.001, "fail", "6 s behind"),
        (2.0, 3.0, "ok", "within 3 s"),
    ],
)
def test_clock_is_judged(skew: float, error: float, level: str, said: str) -> None:
    found = judge_clock(skew, error)
    assert found.level == level
    assert said in found.message
