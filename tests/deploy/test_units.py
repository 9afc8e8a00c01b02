"""Units, compose file and README: what can be checked without systemd and Docker."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bus.settings import PREFIX, BusSettings
from bus.topology import TopologySettings
from coordinator.settings import CoordinatorSettings
from tests.deploy.servers import NATS

UNITS = sorted(NATS.glob("*.service"))
FILES = sorted(path for path in NATS.iterdir() if path.is_file())


def values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def seconds(text: str) -> int:
    found = re.search(r'lame_duck_duration: "(\d+)s"', text)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize(
    ("unit", "command"),
    [
        ("nats-server.service", "/usr/local/bin/nats-server -c ${NATS_CONFIG}"),
        ("fleetbus-coordinator.service", "/opt/fleetbus/bin/fleetbus coordinator"),
        (
            "fleetbus-config.service",
            "/opt/fleetbus/bin/fleetbus config sync --ref ${REF} --watch",
        ),
        ("fleetbus-agent@.service", "/opt/fleetbus/bin/fleetbus agent run ${AGENT}"),
    ],
)
def test_unit_runs(unit: str, command: str) -> None:
    assert values(NATS / unit, "ExecStart") == [command]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_is_restarted_confined_and_enabled(unit: Path) -> None:
    assert values(unit, "Restart") in (["always"], ["on-failure"])
    assert values(unit, "User") != ["root"]
    assert values(unit, "NoNewPrivileges") == ["true"]
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "WantedBy") == ["multi-user.target"]


def test_server_unit_checks_its_configuration_and_has_time_for_lame_duck() -> None:
    unit = NATS / "nats-server.service"
    assert values(unit, "ExecStartPre") == ["/usr/local/bin/nats-server -t -c ${NATS_CONFIG}"]
    assert values(unit, "KillSignal") == ["SIGUSR2"]
    (config,) = values(unit, "Environment")
    assert (NATS / Path(config.partition("=")[2]).name).exists()
    (patience,) = values(unit, "TimeoutStopSec")
    for name in ("single.conf", "cluster.conf"):
        assert int(patience) > seconds((NATS / name).read_text())


def test_compose_file_gives_the_server_its_configuration() -> None:
    text = (NATS / "compose.yaml").read_text()
    for path in re.findall(r"\./([a-z.]+):/etc/nats/", text):
        assert (NATS / path).exists()
    included = re.findall(r'include "([^"]+)"', (NATS / "single.conf").read_text())
    assert included
    for name in included:
        assert f"./{name}:/etc/nats/{name}:ro" in text
    for variable in ("SYS_PASSWORD", "FLEET_PASSWORD"):
        assert f"{variable}: '\"${{{variable}:?" in text
    assert "replicas: 2" in text


def test_every_setting_that_is_named_exists() -> None:
    kinds: dict[str, type[msgspec.Struct]] = {
        "": BusSettings,
        "COORDINATOR_": CoordinatorSettings,
        "TOPOLOGY_": TopologySettings,
    }
    known = {
        f"{PREFIX}{section}{field.name.upper()}"
        for section, kind in kinds.items()
        for field in msgspec.structs.fields(kind)
    }
    named = {
        (path.name, name)
        for path in FILES
        for name in re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]", path.read_text())
    }
    assert len(named) > 10
    known.add("FLEETBUS_REPO")  # the option --repo of the command config
    assert [pair for pair in sorted(named) if pair[1] not in known] == []


def test_readme_names_every_file() -> None:
    text = (NATS / "README.md").read_text()
    for path in FILES:
        assert path.name == "README.md" or f"`{path.name}`" in text
