"""docs/mqtt.md says what the code does, and what it shows runs."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bench.sites.server import free_ports
from bus import Client, codec
from bus.leash import leashed
from bus.server import NatsServer
from bus.server_config import ServerConfig, Thing, thing_user
from bus.subjects import Subjects
from bus.testing import fleet as own_fleet
from bus.wire import thing as wire
from coordinator import Coordinator
from coordinator.things import configuring, flood, inbox, living, metrics, presence
from coordinator.things.record import PAST
from coordinator.view import FleetView
from tests.coordinator.things.helpers import there
from tests.deploy.servers import check
from tests.docs.tables import DOCS, Section, code, codes, sections, shown_fields

DOC = sections("mqtt.md")
TEXT = (DOCS / "mqtt.md").read_text(encoding="utf-8")
STRUCTS: list[type[msgspec.Struct]] = sorted(
    {*wire.UP.values(), *wire.DOWN.values(), wire.ThingError}, key=str
)


def test_topics_and_bodies_up() -> None:
    rows = DOC["What a device says"].rows()
    assert [(code(row[0]), code(row[1]), int(row[3])) for row in rows] == [
        (f"up/{kind}", struct.__name__, wire.MAX_BODY[kind]) for kind, struct in wire.UP.items()
    ]


def test_topics_and_bodies_down() -> None:
    rows = DOC["What a device is told"].rows()
    assert [(code(row[0]), code(row[1])) for row in rows] == [
        (f"down/{kind}", struct.__name__) for kind, struct in wire.DOWN.items()
    ]


def test_topics_are_the_subjects_with_slashes() -> None:
    subjects = Subjects("dev")
    assert subjects.thing_up("relay-1", "state").replace(".", "/") == (
        "fleet/dev/thing/relay-1/up/state"
    )
    assert subjects.thing_down("relay-1", "task").replace(".", "/") == (
        "fleet/dev/thing/relay-1/down/task"
    )
    assert "`thing:<f>:<id>`" in TEXT
    assert subjects.thing_client("relay-1") == "thing:dev:relay-1"


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda one: one.__name__)
def test_fields_of_each_body(struct: type[msgspec.Struct]) -> None:
    section: Section = DOC[struct.__name__]
    documented = [(code(row[0]), row[1], row[2].strip("`")) for row in section.rows()]
    assert documented == [tuple(one) for one in shown_fields(struct)]
    assert all(row[3] for row in section.rows()), "a field has no meaning"
    (example,) = section.examples("json")
    names = {field.encode_name for field in msgspec.structs.fields(struct)}
    assert set(json.loads(example)) <= names
    codec.decode(struct, example.encode())


def test_no_body_is_documented_that_the_code_has_not() -> None:
    documented = {title for title, one in DOC.items() if "| field | type |" in one.text}
    assert documented == {one.__name__ for one in STRUCTS}


def test_the_numbers_in_the_prose() -> None:
    text = " ".join(TEXT.split())
    assert f"the last {PAST} that were taken from it" in text
    assert f"{flood.RATE:g} messages a second ({flood.BURST:g} at once)" in text
    assert flood.ANNOUNCES == (1.0, 20.0)
    assert "one announce a second (20 at once)" in text
    assert f"inputs, arguments, configurations | {wire.MAX_TASK // 1024} KiB each" in text
    assert f"at least {presence.GRACE:g} s)" in text
    assert f"sent again after {configuring.AGAIN_MS // 60_000} minutes" in text
    assert f"at most 32, and {living.MAX_NAMES} different ones in its life" in text
    assert f"for selectors, at most {living.MAX_LABELS};" in text
    (verbs,) = (row[3] for row in DOC["ThingAnnounce"].rows() if code(row[0]) == "commands")
    assert tuple(codes(verbs)) == living.BUILT_IN


def test_what_is_counted() -> None:
    shown = {
        one.name + ("_total" if one.type == "counter" else "")
        for one in metrics.collect(Coordinator.connect("nats://127.0.0.1:1").things, FleetView("c"))
    }
    metric, reason = re.findall(r"(?:^\|.*\n)+", DOC["What is counted"].text, re.MULTILINE)
    assert {codes(row)[0] for row in metric.splitlines()[2:]} == shown
    assert [codes(row)[0] for row in reason.splitlines()[2:]] == [*get_args(inbox.Reason)]
    assert f"could not be asked, {inbox.GIVE_UP} times" in reason


def quick_start() -> str:
    found = re.search(r"```text\n(.*?)```", DOC["A device in ten minutes"].text, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_configuration_is_one_that_the_server_takes(tmp_path: Path) -> None:
    config = tmp_path / "things.conf"
    config.write_text(quick_start().replace('"store"', f'"{tmp_path}"'))
    code_, output = await check(config, {})
    assert code_ == 0, output
    assert thing_user(Thing("dev", "relay-1", "secret")) in quick_start()


def test_the_shortest_device_is_short() -> None:
    (example,) = DOC["The shortest device"].examples("python")
    assert len(example.splitlines()) < 60


async def test_the_shortest_device_runs() -> None:
    (example,) = DOC["The shortest device"].examples("python")
    (port,) = free_ports(1)
    things = (Thing("dev", "relay-1", "secret"),)
    config = ServerConfig(mqtt_port=port, things=things, password="fleet")
    async with (
        NatsServer(config=config) as server,
        own_fleet(server.url, "dev"),
        Client.connect(server.url, "dev") as client,
        Coordinator.connect(server.url, "dev"),
    ):
        assert "1883" in example
        process = await asyncio.create_subprocess_exec(
            *leashed([sys.executable, "-c", example.replace("1883", str(port))]),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await there(client, "relay-1")
            handles = await client.submit_many("blink", [{"n": n} for n in range(3)])
            assert [await one.result(timeout=10) for one in handles] == ["blinked"] * 3
        finally:
            process.kill()
            await process.wait()
