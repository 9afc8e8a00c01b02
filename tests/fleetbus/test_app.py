"""The command line as a whole: help, completion, what is mistyped, Ctrl-C."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from pathlib import Path

import pytest

from bus.version import VERSION
from fleetbus.app import COMMANDS
from tests.support.cli import environment, fleetbus, started


async def test_help_lists_every_command() -> None:
    done = await fleetbus("--help")
    assert done.status == 0
    for name in COMMANDS:
        assert f" {name} " in done.out


@pytest.mark.parametrize("command", ["up", "agent run", "coordinator", "agents", "doctor"])
async def test_help_of_a_command_teaches(command: str) -> None:
    done = await fleetbus(*command.split(), "--help")
    assert done.status == 0
    assert f"fleetbus {command}" in done.out.partition("Examples")[2]


async def test_version() -> None:
    assert (await fleetbus("--version")).out == f"fleetbus {VERSION}\n"


async def test_mistyped_command_is_a_usage_error_with_a_guess() -> None:
    done = await fleetbus("doctr")
    assert done.status == 2
    assert "doctor" in done.err


async def test_completion_offers_commands_and_options() -> None:
    shown = await fleetbus(
        "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert shown.status == 0
    assert "_FLEETBUS_COMPLETE=complete_bash" in shown.out
    names = await fleetbus(
        _FLEETBUS_COMPLETE="complete_bash", COMP_WORDS="fleetbus co", COMP_CWORD="1"
    )
    assert "coordinator" in names.out.split()
    options = await fleetbus(
        _FLEETBUS_COMPLETE="complete_bash",
        COMP_WORDS="fleetbus agent run --rel",
        COMP_CWORD="3",
    )
    assert options.out.split() == ["--reload"]


async def test_completion_is_installed(tmp_path: Path) -> None:
    done = await fleetbus(
        "--install-completion",
        "bash",
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    assert done.status == 0
    assert ".bash_completions/fleetbus.sh" in (tmp_path / ".bashrc").read_text()
    script = (tmp_path / ".bash_completions" / "fleetbus.sh").read_text()
    assert "_FLEETBUS_COMPLETE=complete_bash" in script


@pytest.mark.parametrize("command", ["agents", "agents show x"])
async def test_no_server_is_one_line(command: str) -> None:
    done = await fleetbus(*command.split(), "--url", "nats://127.0.0.1:1")
    assert done.status == 3
    assert done.err.startswith("error: cannot connect to NATS at nats://127.0.0.1:1: connection")
    assert done.err.count("\n") == 1


async def test_ctrl_c_is_130_without_a_traceback(nats_url: str, fleet: str) -> None:
    async with started("agents", "--watch", "--json", "-u", nats_url, "-f", fleet) as run:
        await run.says("[]")
        assert await run.end(signal.SIGINT) == 130
        assert "Traceback" not in run.text


async def test_a_reader_that_goes_away_is_no_error(nats_url: str, fleet: str) -> None:
    command = shlex.join(
        [sys.executable, "-m", "fleetbus", "agents", "-w", "--json", "-u", nats_url, "-f", fleet]
    )
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"{command} | head -n 1; exit ${{PIPESTATUS[0]}}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    async with asyncio.timeout(15):
        out, err = await process.communicate()
    assert (out, err, process.returncode) == (b"[]\n", b"", 141)
