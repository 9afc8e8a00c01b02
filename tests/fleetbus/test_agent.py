"""``fleetbus agent run`` as a process."""

from __future__ import annotations

import inspect
import signal
import sys
from pathlib import Path

import pytest

from bus import Client
from bus.testing import eventually
from bus.wire import Heartbeat
from coordinator import Coordinator
from fleetbus.agent import agent_run
from fleetbus.agent_process import LONG, SHORT, AgentRun, parse
from tests.support.cli import fleetbus, started

ECHO = """
from agent_runtime import Agent

agent = Agent("echo-1", slots=2)

@agent.capability("echo")
async def echo(text: str) -> str:
    return text{suffix}
"""


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    path = tmp_path / "echo_target.py"
    path.write_text(ECHO.format(suffix=""))
    return path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a:b"], AgentRun(("a:b",))),
        (["a:b", "c.py", "--no-wait"], AgentRun(("a:b", "c.py"), wait=False)),
        (["--url=u", "a:b", "-f", "prod"], AgentRun(("a:b",), url="u", fleet="prod")),
        (["-uu", "a:b", "-l", "debug"], AgentRun(("a:b",), url="u", log_level="debug")),
        (["a:b", "--only", "x", "--only=y"], AgentRun(("a:b",), only=("x", "y"))),
        (["a:b", "--reload", "--no-wait", "--wait"], AgentRun(("a:b",), reload=True)),
        (["a:b", "--", "-c.py"], None),
        ([], None),
        (["a:b", "--help"], None),
        (["a:b", "--flee", "x"], None),
        (["a:b", "--nope"], None),
        (["a:b", "-x"], None),
        (["a:b", "--url"], None),
        (["a:b", "--log-level", "loud"], None),
    ],
)
def test_plain_arguments_are_read_without_typer(
    arguments: list[str], told: AgentRun | None
) -> None:
    assert parse(arguments) == told


def test_both_readers_know_the_same_options() -> None:
    import typer

    app = typer.Typer(add_completion=False)
    app.command()(agent_run)
    command = typer.main.get_command(app)
    names = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    }
    ours = {f"--{name.rstrip('=')}" for name in LONG} | {f"-{c}" for c in SHORT if c != ":"}
    assert names - {"--help"} == ours
    defaults = {name: p.default for name, p in inspect.signature(agent_run).parameters.items()}
    for name in ("reload", "wait", "log_level", "url", "fleet"):
        assert defaults[name] == getattr(AgentRun(()), name), name


async def test_agent_joins_works_and_drains_at_sigterm(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, echo: Path
) -> None:
    async with started("agent", "run", str(echo), "-u", nats_url, "-f", fleet) as run:
        await run.says("agent echo-1 ready: echo")
        assert await client.call("echo", {"text": "hi"}, timeout=5) == "hi"
        assert await run.end(signal.SIGTERM) == 0
        assert "agent echo-1 stopped" in run.text
    assert await client.agents() == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_idle_agent_is_small_and_loads_no_more_than_it_needs(
    nats_url: str, fleet: str, client: Client, echo: Path
) -> None:
    echo.write_text(
        echo.read_text() + "\nimport atexit, sys\n"
        "atexit.register(lambda: print('modules', *sorted(sys.modules)))\n"
    )
    beats: list[Heartbeat] = []

    def on_beat(message: object) -> None:
        beats.append(message)  # type: ignore[arg-type]  # only counted

    await client.bus.listen(client.bus.subjects.heartbeats, on_beat)
    async with started("agent", "run", str(echo), "-u", nats_url, "-f", fleet) as run:
        await run.says("ready")
        await eventually(lambda: beats)
        status = Path(f"/proc/{run.process.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0])
        assert resident < 45 * 1024
        assert await run.end(signal.SIGTERM) == 0
        loaded = set((await _line(run.lines, "modules")).split())
    for heavy in ("typer", "rich", "pydantic", "prometheus_client", "opentelemetry"):
        assert heavy not in loaded


async def _line(lines: list[str], word: str) -> str:
    return await eventually(lambda: next((one for one in lines if one.startswith(word)), ""))


async def test_it_waits_for_a_fleet_and_can_be_stopped_meanwhile(nats_url: str, echo: Path) -> None:
    async with started("agent", "run", str(echo), "-u", nats_url, "-f", "nobody-here") as run:
        await run.says("agent echo-1 waits: fleet 'nobody-here' has no streams")
        assert await run.end() == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere.py:agent"], 2, "there is no file"),
        (["echo", "--log-level", "loud"], 2, "loud"),
        (["-u", "nats://127.0.0.1:1", "--no-wait"], 3, "connection refused"),
        (["--fleet", "a b"], 2, "fleet name 'a b' is not allowed"),
    ],
)
async def test_what_is_wrong_is_one_line(
    arguments: list[str], status: int, said: str, echo: Path
) -> None:
    done = await fleetbus("agent", "run", str(echo), *arguments)
    assert done.status == status
    assert said in done.err
    assert "Traceback" not in done.err


async def test_reload_starts_again_at_a_change(
    nats_url: str, fleet: str, client: Client, coordinator: Coordinator, echo: Path
) -> None:
    arguments = ("agent", "run", str(echo), "--reload", "-u", nats_url, "-f", fleet)
    async with started(*arguments, cwd=echo.parent) as run:
        await run.says("agent echo-1 ready")
        echo.write_text("this is not Python")
        await run.says("waiting for a change")
        echo.write_text(ECHO.format(suffix=" + '!'"))
        assert await eventually(lambda: _calls(client), 10) == "hi!"
        assert await run.end() == 0
    assert await client.agents() == []


async def _calls(client: Client) -> str:
    from bus.errors import TaskError

    try:
        answer: str = await client.call("echo", {"text": "hi"}, timeout=1)
    except TaskError:
        return ""
    return answer
