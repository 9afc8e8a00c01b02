"""Failures of handlers and commands: told, but not with what a reference to a secret stands for."""

from __future__ import annotations

import enum
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pydantic
import pytest

from agent_runtime import Agent, Retry, Task
from agent_runtime import executor as executor_module
from bus import Bus, Client
from bus.testing import eventually
from bus.transport import Inbound
from tests.conftest import Join
from tests.support.configuring import Desk

pytestmark = pytest.mark.usefixtures("coordinator")

SECRET = "hunter2-" + "0123456789abcdef" * 6


class Colour(enum.Enum):
    RED = "red"


class Painted(pydantic.BaseModel):
    size: int


class Picky(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        raise ValueError(f"{self.name} is not allowed by {agent_in_use[-1].config['key']}")


agent_in_use: list[Agent] = []


def failing() -> Agent:
    agent = Agent("a", slots=4)
    agent_in_use[:] = [agent]

    @agent.capability()
    async def raises() -> None:
        raise ValueError(f"cannot log in with {agent.config['key']}")

    @agent.capability()
    def in_a_thread() -> None:
        try:
            raise KeyError(agent.config["key"])
        except KeyError as problem:
            raise ValueError("it is in the cause only") from problem

    @agent.capability()
    async def streams() -> AsyncIterator[str]:
        yield "begun"
        raise OSError(f"{agent.config!r}")

    @agent.capability()
    async def passes() -> None:
        raise ConnectionError(f"https://u:{agent.config['key']}@host is down")

    @agent.capability()
    async def asks_again() -> None:
        raise Retry(f"{agent.config['key']} has run out", after=0.0)

    @agent.capability()
    async def breaks_its_word() -> Colour:
        return agent.config["key"]  # type: ignore[no-any-return]  # the mistake itself

    @agent.capability()
    async def quotes_the_value() -> None:
        Painted(size=agent.config["key"])  # pydantic shortens what it quotes

    @agent.capability()
    async def refuses(what: Picky) -> None: ...

    @agent.command("open")
    async def open_(what: Picky | None = None) -> None:
        raise ValueError(f"not with {agent.config['key']}")

    return agent


@pytest.mark.parametrize(
    ("capability", "value", "said"),
    [
        ("raises", None, "cannot log in with [secret]"),
        ("in_a_thread", None, "it is in the cause only"),
        ("streams", None, "{'key': '[secret]'}"),
        ("passes", None, "https://u:[secret]@host is down"),
        ("asks_again", None, "[secret] has run out"),
        ("breaks_its_word", None, "Invalid enum value '[secret]'"),
        ("quotes_the_value", None, "input_value='[secret]...[secret]', input_type=str"),
        ("refuses", {"what": {"name": "Bob"}}, "Bob is not allowed by [secret]"),
    ],
)
async def test_no_failure_of_a_handler_shows_a_secret(
    client: Client,
    bus: Bus,
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capability: str,
    value: Any,
    said: str,
) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    desk = Desk(bus)
    await desk.put("global", {"key": "secret://env/A_KEY"})
    heard: list[Inbound] = []
    await bus.listen(f"fleet.{bus.subjects.fleet}.>", heard.append)
    await bus.flush()
    with caplog.at_level(logging.DEBUG):
        await join(failing())
        handle = await client.submit(capability, value, max_attempts=1)
        result = await handle.outcome(timeout=10)
    assert result.error is not None
    assert said in result.error.message
    dead = [one for one in heard if one.subject.startswith(f"fleet.{bus.subjects.fleet}.dead.")]
    assert len(dead) == (capability in ("passes", "asks_again"))
    written = [caplog.text.encode(), *(one.block + one.data for one in heard)]
    # A few characters tell nothing; more of it must not be anywhere.
    pieces = [SECRET[at : at + 8].encode() for at in range(len(SECRET) - 8)]
    assert not [text for text in written if any(piece in text for piece in pieces)]


async def test_no_failure_of_a_command_shows_a_secret(
    bus: Bus, join: Join, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    desk = await Desk(bus).start()
    await desk.put("global", {"key": "secret://env/A_KEY"})
    with caplog.at_level(logging.DEBUG):
        await join(failing())
        failed = await desk.ask("a", "open")
        rejected = await desk.ask("a", "open", {"what": {"name": "Bob"}})
    assert (failed.state, failed.error) == ("failed", "ValueError: not with [secret]")
    assert rejected.state == "rejected"
    assert "Bob is not allowed by [secret]" in rejected.error
    assert "hunter2" not in caplog.text


async def test_one_that_holds_the_configuration_before_has_its_secret_blotted_out_too(
    client: Client, bus: Bus, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    desk = Desk(bus)
    await desk.put("global", {"key": "secret://env/A_KEY"})
    agent = Agent("a")

    @agent.capability()
    async def slow(task: Task) -> None:
        config = agent.config
        task.progress(message="begun")
        await eventually(lambda: agent.config["key"] == "another")
        raise ValueError(f"{config} is old")

    await join(agent)
    handle = await client.submit("slow", max_attempts=1)
    await anext(aiter(handle.progress()))
    await desk.put("global", {"key": "another"})
    result = await handle.outcome(timeout=10)
    assert result.error is not None
    assert result.error.message == "{'key': '[secret]'} is old"


async def test_failure_without_a_secret_is_logged_with_its_exception(
    client: Client, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent("a")

    @agent.capability()
    async def breaks() -> None:
        raise ValueError("the disk is full")

    await join(agent)
    with caplog.at_level(logging.WARNING, executor_module.log.name):
        await (await client.submit("breaks")).outcome(timeout=10)
    records = [one for one in caplog.records if "breaks failed: the disk is full" in one.message]
    assert [one.exc_info[0] for one in records if one.exc_info] == [ValueError]
