"""The shipped configuration for devices, checked and run by the real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.sites.server import free_ports
from bus import Client
from bus.server_config import Thing, thing_user
from bus.subjects import DISCONNECTS
from bus.testing import fleet as own_fleet
from coordinator import Coordinator
from tests.coordinator.things.helpers import there
from tests.deploy.servers import NATS, SECRETS, check, running, turn_on
from tests.deploy.test_configs import connected
from tests.support.mqtt import Device, echo

PASSWORDS = {**SECRETS, "RELAY_1_PASSWORD": '"of-relay-1"'}


async def test_is_valid(nats_dir: Path) -> None:
    code, output = await check(nats_dir / "mqtt.conf", PASSWORDS)
    assert code == 0, output


async def test_is_valid_with_everything_on(nats_dir: Path, certificates: Path) -> None:
    for name in ("single.conf", "mqtt.conf"):
        path = nats_dir / name
        path.write_text(turn_on(path.read_text()))
    code, output = await check(nats_dir / "mqtt.conf", PASSWORDS)
    assert code == 0, output


@pytest.mark.parametrize("missing", sorted(PASSWORDS))
async def test_does_not_start_without_a_password(nats_dir: Path, missing: str) -> None:
    secrets = {name: value for name, value in PASSWORDS.items() if name != missing}
    code, output = await check(nats_dir / "mqtt.conf", secrets)
    assert code != 0
    assert missing in output


def test_a_device_has_the_rights_that_the_code_gives_it() -> None:
    text = (NATS / "mqtt.conf").read_text()
    entry = text[text.index("user: relay-1") :]
    wanted = thing_user(Thing("prod", "relay-1", "x"))
    for right in ("publish", "subscribe"):
        pattern = rf"{right}: \{{ allow: \[(.*?)\]"
        assert re.search(pattern, entry)[1] == re.search(pattern, wanted)[1]  # type: ignore[index]  # both have it
    assert 'allowed_connection_types: ["MQTT"]' in entry
    assert 'allowed_connection_types: ["MQTT"]' in wanted


def test_what_it_replaces_is_what_the_included_files_have() -> None:
    """All but comments: of ``accounts`` there are users more, of ``jetstream`` a limit."""

    def lines(name: str) -> set[str]:
        text = (NATS / name).read_text()
        return {line.strip() for line in text.splitlines() if line.strip()[:1] not in ("", "#")}

    mine = lines("mqtt.conf")
    accounts = lines("accounts.conf") - {"system_account: SYS"}
    assert accounts <= mine
    store = {'store_dir: "/var/lib/nats"', "max_file_store: 50GB"}
    assert store <= lines("single.conf") & mine


async def test_serves_a_device_and_the_fleet(nats_dir: Path) -> None:
    port, mqtt_port = free_ports(2)
    for name, old, new in (
        ("single.conf", "127.0.0.1:4222", f"127.0.0.1:{port}"),
        ("single.conf", "127.0.0.1:8222", "127.0.0.1:-1"),
        ("mqtt.conf", "127.0.0.1:1883", f"127.0.0.1:{mqtt_port}"),
    ):
        path = nats_dir / name
        path.write_text(path.read_text().replace(old, new))
    url = f"nats://fleet:plain@127.0.0.1:{port}"
    secrets = {**PASSWORDS, "FLEET_PASSWORD": '"plain"'}
    async with (
        running(nats_dir / "mqtt.conf", secrets),
        own_fleet(url, "prod"),
        Client.connect(url, "prod") as client,
        Coordinator.connect(url, "prod"),
        Device(mqtt_port, "prod", "relay-1", password="of-relay-1", handle=echo) as relay,
    ):
        await there(client, "relay-1")
        assert await (await client.submit("blink", 7)).result(timeout=5) == 7
        assert relay.subscribed == ["Granted QoS 1"]
        tasks = await client.bus.api(f"STREAM.INFO.{client.bus.subjects.things_stream}")
        assert tasks["config"]["max_consumers"] in (-1, 20_000)
        # The disconnect event is imported still, and tells devices from agents.
        async with connected(port, password="plain") as watcher:
            heard = await watcher.subscribe(DISCONNECTS)
            await watcher.flush()
            await relay.cut()
            event = json.loads((await heard.next_msg(timeout=5)).data)
            assert event["client"]["client_type"] == "mqtt"
            assert event["client"].get("name", "") == ""
