"""``fleetbus edge simulate`` as a process."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from bench.edge.profiles import PROFILES
from bench.harness.processes import parent_and_cpu
from bus.testing import eventually
from tests.support.cli import fleetbus, started

simulate = partial(fleetbus, "edge", "simulate")

SMALL = ("-n", "8", "--profile", "lan", "--minutes", "0.02", "--every", "0.2", "--rate", "10")


async def test_the_list_tells_what_links_there_are() -> None:
    done = await simulate("--list")
    assert done.status == 0
    for one in PROFILES:
        assert one.name in done.out
        assert one.sentence in done.out
    listed = (await simulate("--list", "--json")).json()
    assert [one["name"] for one in listed] == [one.name for one in PROFILES]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "dialup"), "there is no profile 'dialup'"),
        (("-n", "0"), "--devices"),
        (("--minutes", "0"), "--minutes 0 is not above 0"),
        (("--every", "nan"), "--every nan is not above 0"),
        (("--rate", "-1"), "--rate -1 is not above 0"),
    ],
)
async def test_bad_arguments(arguments: tuple[str, ...], message: str) -> None:
    done = await simulate(*arguments)
    assert done.status == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
async def test_a_small_fleet_is_accounted_for() -> None:
    done = await simulate(*SMALL, "--json", timeout=60)
    found = done.json()
    assert done.status == (1 if found["faults"] else 0), done.err
    tasks = found["tasks"]
    assert tasks["submitted"] > 5
    assert sum(tasks["states"].values()) == tasks["submitted"]
    assert tasks["unfinished"] == []
    assert found["readings"]["stored"] > 20
    assert found["readings"]["doubled"] == 0
    assert found["bytes_per_hour"] > 0
    assert found["report"]["tally"]["joined"] == 8


@pytest.mark.slow
async def test_a_fleet_that_is_not_there() -> None:
    done = await simulate("--url", "nats://127.0.0.1:1", timeout=60)
    assert done.status == 3
    assert "Traceback" not in done.err


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
async def test_an_interrupted_one_leaves_nothing(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    arguments = ("edge", "simulate", "-n", "8", "--profile", "lan")
    async with started(*arguments, TMPDIR=str(tmp_path)) as running:
        # A server, a coordinator and the devices.
        await eventually(lambda: len(_descendants(running.process.pid)) >= 3, 15)
        assert list(tmp_path.iterdir())
        children = _descendants(running.process.pid)
        assert await running.end(number) == status
    assert "Traceback" not in running.text
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.iterdir())


def _descendants(pid: int) -> set[int]:
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = parent_and_cpu(int(entry))[0]
            except ProcessLookupError:
                continue  # it ended just now
    found = {pid}
    while new := {one for one, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid}
