"""``fleetbus conformance`` as a process, on the agent that is made with agent_runtime."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import psutil

from bus import Bus
from bus.testing import eventually
from fleetbus.conformance.catalogue import CHECKS
from tests.support.cli import ROOT, fleetbus, started

AGENT = ROOT / "tests" / "conformance" / "agents" / "runtime_agent.py"
COMMAND = shlex.join([sys.executable, str(AGENT)])
MUTANT = shlex.join([sys.executable, "-m", "tests.conformance.agents.mutant_agent"])


async def test_agent_runtime_conforms() -> None:
    done = await fleetbus("conformance", "--agent-command", COMMAND, "--json", timeout=120)
    report = done.json()
    failed = [one for one in report["checks"] if one["outcome"] == "fail"]
    assert failed == []
    assert done.status == 0
    assert report["ok"] is True
    assert [one["check"] for one in report["checks"]] == [one.id for one in CHECKS]
    skipped = {one["check"]: one["got"] for one in report["checks"] if one["outcome"] == "skip"}
    assert skipped == {}


async def test_one_that_does_not_conform_is_told_why() -> None:
    done = await fleetbus(
        "conformance", "--agent-command", f"{MUTANT} answers_accepted", "-k", "dispatch.s"
    )
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[0].split() == ["fail", "dispatch.silent", *lines[0].split()[2:]]
    assert lines[1].split(maxsplit=1) == ["see", "docs/subjects.md, Be an agent, 6"]
    assert lines[2].split(maxsplit=1)[0] == "expected"
    assert "b'accepted'" in lines[3]
    assert lines[-1].startswith("0 passed, 1 failed in ")
    assert lines[-1].endswith("the agent does not conform")


async def test_on_a_server_that_is_there(nats_url: str, bus: Bus) -> None:
    arguments = ("-k", "dispatch.silent call.answered", "--url", nats_url, "--verbose")
    done = await fleetbus("conformance", "--agent-command", COMMAND, *arguments)
    assert done.status == 0, done.out
    assert "2 passed, 0 failed" in done.out
    assert "ready: echo" in done.err
    streams = (await bus.api("STREAM.NAMES"))["streams"]
    assert [one for one in streams if "conformance-" in one] == []


async def test_an_agent_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such sensor')\n")
    command = shlex.join([sys.executable, str(broken)])
    done = await fleetbus("conformance", "--agent-command", command)
    assert done.status == 2
    assert "it ended with status 1" in done.err
    assert "no such sensor" in done.err
    assert "Traceback" not in done.err


async def test_an_agent_that_was_not_made_for_it_is_told_at_once(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "import os\nfrom edge import Agent\nagent = Agent(os.environ['FLEETBUS_AGENT'])\n"
        "agent.capability('blink', params={})(lambda task: None)\nagent.run()\n"
    )
    command = shlex.join([sys.executable, str(other)])
    done = await fleetbus("conformance", "--agent-command", command)
    assert done.status == 2
    assert "the agent offers blink, and none of what the suite asks for (echo, " in done.err
    # What needs nothing of that can still be checked.
    done = await fleetbus("conformance", "--agent-command", command, "-k", "join.name")
    assert done.status == 0


async def test_wrong_usage_is_explained() -> None:
    for arguments, text in (
        ([], "what starts the agent"),
        (["--agent-command", "no-such-program"], "there is no program 'no-such-program'"),
        (["--agent-command", COMMAND, "-k", "nothing.like.this"], "no check has"),
    ):
        done = await fleetbus("conformance", *arguments)
        assert done.status == 2
        # Boxed, and broken into lines, for people.
        assert text in " ".join(done.err.replace("│", " ").split())


async def test_list_shows_checks_and_runs_none() -> None:
    done = await fleetbus("conformance", "--list", "--json")
    assert [one["id"] for one in done.json()] == [one.id for one in CHECKS]
    shown = await fleetbus("conformance", "--list", "-k", "dispatch.full")
    assert "dispatch.full" in shown.out
    assert "dispatch.silent" not in shown.out


async def test_ctrl_c_leaves_no_process() -> None:
    async with started("conformance", "--agent-command", COMMAND) as run:
        await run.says("pass")
        # Their process ids: what they are children of is gone with us.
        family = psutil.Process(run.process.pid).children(recursive=True)
        assert len(family) >= 2
        assert await run.end(signal.SIGINT) == 130
        await eventually(lambda: not any(one.is_running() for one in family))
    assert "Traceback" not in run.text
