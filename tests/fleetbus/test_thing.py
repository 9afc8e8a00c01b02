"""``fleetbus thing``."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus import Bus
from bus.wire.card import Capability, Card
from coordinator.things.record import Holding, Record
from coordinator.things.records import Records
from tests.deploy.servers import check
from tests.support.cli import fleetbus

RECORD = Record(
    boot="9f2c",
    card=Card("relay-1", "9f2c", "berlin", capabilities=(Capability("switch"),), slots=2),
    online=True,
    last_ms=1795235812473,
    held={"me.1": Holding("switch", 1795235812473)},
)


@pytest.fixture
async def thing(bus: Bus) -> None:
    await Records(bus).change("relay-1", lambda _: (RECORD, None))


@pytest.mark.usefixtures("thing")
async def test_lists_what_is_known(nats_url: str, fleet: str) -> None:
    done = await fleetbus("thing", "list", "--url", nats_url, "--fleet", fleet)
    assert done.status == 0, done.err
    head, _, row = done.out.splitlines()
    assert head.split() == ["thing", "site", "state", "capabilities", "holds", "heard", "boot"]
    assert row.split()[:5] == ["relay-1", "berlin", "ready", "switch", "1/2"]
    done = await fleetbus("thing", "list", "--json", "--url", nats_url, "--fleet", fleet)
    assert done.json()[0]["heard_ms"] == 1795235812473


@pytest.mark.usefixtures("thing")
async def test_shows_one(nats_url: str, fleet: str) -> None:
    done = await fleetbus("thing", "show", "relay-1", "--url", nats_url, "--fleet", fleet)
    assert done.json()["record"]["held"]["me.1"]["capability"] == "switch"
    done = await fleetbus("thing", "show", "relay-9", "--url", nats_url, "--fleet", fleet)
    assert done.status == 1
    assert "has heard of no thing 'relay-9'" in done.err


async def test_says_where_to_read_on_while_there_is_none(nats_url: str, fleet: str) -> None:
    done = await fleetbus("thing", "list", "--url", nats_url, "--fleet", fleet)
    assert (done.status, done.out) == (0, "")
    assert "docs/mqtt.md" in done.err


async def test_prints_rights_that_a_server_takes(tmp_path: Path) -> None:
    first = await fleetbus("thing", "permissions", "relay-1", "--fleet", "prod")
    second = await fleetbus("thing", "permissions", "relay-1", "--fleet", "prod")
    assert first.out != second.out, "the password is another each time"
    assert '"fleet.prod.thing.relay-1.up.*"' in first.out
    config = tmp_path / "nats.conf"
    config.write_text(
        f'server_name: x\njetstream {{ store_dir: "{tmp_path}" }}\nmqtt {{ port: -1 }}\n'
        f"accounts {{ FLEET {{ jetstream: enabled, users: [{first.out}] }} }}\n"
    )
    code, output = await check(config, {})
    assert code == 0, output


@pytest.mark.parametrize("thing", ["a.b", "a b", "*", "x" * 65])
async def test_refuses_an_id_that_could_widen_the_rights(thing: str) -> None:
    done = await fleetbus("thing", "permissions", thing)
    assert (done.status, done.out) == (2, "")
