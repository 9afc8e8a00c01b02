"""``fleetbus bench`` as a process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from bench.harness.figures import load, save
from bench.harness.scenario import NAMES
from bus.testing import eventually
from tests.support.bench import figure, run
from tests.support.cli import ROOT, environment, fleetbus

bench = partial(fleetbus, "bench")

SEVERAL = ("dispatch", "call")


async def test_the_list_tells_what_there_is() -> None:
    done = await bench("--list")
    assert done.status == 0
    for name in NAMES:
        assert name in done.out
    listed = (await bench("run", "--list", "--quick", "--json")).json()
    assert [one["name"] for one in listed] == list(NAMES)
    assert all(one["seconds"] > 0 and one["summary"] for one in listed)


async def test_help_teaches() -> None:
    group = await bench("--help")
    for word in ("run", "report", "compare", "yardstick"):
        assert word in group.out
    assert "--quick" in (await bench("run", "--help")).out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("dispach",), 2, "there is no scenario 'dispach'; known are dispatch"),
        (("--rounds", "0"), 2, "--rounds"),
        (("--scale", "0"), 2, "--scale 0 is not above 0"),
        (("--scale", "nan"), 2, "--scale nan is not above 0"),
        (("call", "--quick", "--out", "/dev/null/x"), 1, "/dev/null is not a folder that can be"),
        (("report", "nowhere"), 1, "nowhere cannot be read: No such file"),
        (("compare", "nowhere"), 2, "Missing argument"),
        (("compare", "a", "b"), 1, "a cannot be read"),
    ],
)
async def test_bad_arguments(arguments: tuple[str, ...], status: int, message: str) -> None:
    done = await bench(*arguments)
    assert done.status == status
    assert message in done.err
    assert "Traceback" not in done.err


async def test_measure_then_report_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = await bench("call", "--quick", "--out", str(folder), timeout=60)
    assert done.status == 0, done.err
    assert "1/1 call" in done.err
    assert "A quick run" in done.out
    assert (folder / "report.md").read_text() == done.out
    result = load(folder / "result.json")
    assert result.scenarios == ("call",)
    assert result.quick
    drawn = {file.name for file in folder.glob("*.svg")}
    assert drawn

    elsewhere = tmp_path / "elsewhere"
    again = await bench("report", str(folder), "--out", str(elsewhere), "--pictures", "none")
    assert again.status == 0
    assert not list(elsewhere.glob("*.svg"))
    assert again.out.count("call") > 1
    once_more = await bench("call", "--quick", "--out", str(folder))
    assert once_more.status == 1
    assert "holds a result already: name another folder with --out" in once_more.err
    assert [path.name for path in elsewhere.iterdir()] == ["report.md"]


async def test_compare(tmp_path: Path) -> None:
    files = [tmp_path / "before.json", tmp_path / "after.json"]
    save(run(figure(), figure(side="same")), files[0])
    save(run(figure(values=(50.0, 51.0, 52.0)), figure(side="same")), files[1])
    names = [str(file) for file in files]
    done = await bench("compare", *names)
    assert done.status == 0
    assert "-53.6%" in done.out
    assert "1 worse, 1 within the noise" in done.out
    assert "tasks/s, same" not in done.out
    assert "tasks/s, same" in (await bench("compare", *names, "--all")).out
    assert (await bench("compare", *names, "--check")).status == 1
    assert (await bench("compare", *reversed(names), "--check")).status == 0
    save(run(figure(side="same")), files[1])
    gone = await bench("compare", *names, "--check")
    assert (gone.status, gone.out) == (1, "1 within the noise, 1 only before\n")
    save(run(figure(values=(50.0, 51.0, 52.0)), figure(side="same")), files[1])
    document = (await bench("compare", *names, "--json")).json()
    assert [one["verdict"] for one in document["changes"]] == ["worse", "noise"]


async def test_the_newest_result_is_reported(tmp_path: Path) -> None:
    async def report() -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fleetbus", "bench", "report", "--pictures", "none",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment(), cwd=tmp_path,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    status, _, err = await report()
    assert status == 1
    assert "there is no result in bench-results: run 'fleetbus bench' first" in err
    for age, name in ((100, "old"), (0, "new")):
        file = tmp_path / "bench-results" / name / "result.json"
        save(run(figure(side=name)), file)
        stamp = file.stat().st_mtime - age
        os.utime(file, (stamp, stamp))
    status, out, _ = await report()
    assert status == 0
    assert "new" in out
    assert "old" not in out


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_an_end_before_the_time_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fleetbus", "bench", "dispatch", "--out", str(tmp_path / "run"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment(TMPDIR=str(tmp_path)),
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert b"1/1 dispatch" in await process.stderr.readline()
        children = await eventually(lambda: several(process.pid), 30)
        # To the whole group, as a terminal does.
        os.killpg(process.pid, number)
        async with asyncio.timeout(30):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == status
    assert b"Traceback" not in err
    assert b"interrupted" in err
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []


def several(pid: int) -> list[int]:
    """The children of a process, once there are five."""
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found if len(found) >= 5 else []


def test_every_scenario_has_a_smoke_test() -> None:
    """Those of ``SEVERAL`` are run here, the others each in a file of tests/bench."""
    tests = "".join(file.read_text() for file in (ROOT / "tests" / "bench").glob("test_*.py"))
    smoked = re.findall(r'smoke\("([\w-]+)"\)', tests)
    run = {*smoked, *re.findall(r"bench\.scenarios\.(\w+)", tests)}
    assert {*NAMES} <= {*run, *SEVERAL}


async def test_several_scenarios_run_one_after_the_other(tmp_path: Path) -> None:
    done = await bench(*SEVERAL, "--quick", "--out", str(tmp_path), "--json", timeout=120)
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert result["failures"] == []
    measured = {one["scenario"] for one in result["figures"]}
    skipped = {one["scenario"] for one in result["notes"] if one["skipped"]}
    assert {*result["scenarios"]} <= measured | skipped
    assert ROOT not in tmp_path.parents
