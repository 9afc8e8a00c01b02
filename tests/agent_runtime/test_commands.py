"""Commands as an agent answers them, on a real server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from agent_runtime import Agent
from agent_runtime import commands as commands_module
from bus import Bus, codec
from bus.testing import eventually
from bus.wire.command import Command, Reply
from tests.conftest import Join


class Operator:
    """Sends commands to agent ``a`` and keeps what comes back."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.replies: list[Reply] = []
        self.inbox = bus.nc.new_inbox()

    async def start(self) -> None:
        def on_reply(message: Any) -> None:
            self.replies.append(codec.decode(Reply, message.data))

        await self.bus.listen(self.inbox, on_reply)

    def send(self, verb: str, args: dict[str, Any] | None = None, **fields: Any) -> None:
        command = Command("id-1", verb, args or {}, **fields)
        self.bus.send(self.bus.subjects.command_agent("a"), codec.encode(command), self.inbox)

    async def ask(self, verb: str, args: dict[str, Any] | None = None, **fields: Any) -> Reply:
        self.replies.clear()
        self.send(verb, args, **fields)
        await eventually(lambda: self.replies)
        return self.replies[0]


@pytest.fixture
async def operator(bus: Bus) -> Operator:
    made = Operator(bus)
    await made.start()
    return made


class Strange(msgspec.Struct):
    size: int

    def __post_init__(self) -> None:
        if self.size == 13:
            raise ValueError("thirteen is not a size")


def commanded() -> Agent:
    agent = Agent("a", site="berlin", labels={"env": "prod"})

    @agent.command("resize")
    async def resize(size: int, force: bool = False) -> dict[str, Any]:
        return {"size": size, "force": force}

    @agent.command("plain")
    def plain(text: str) -> str:
        return text.upper()

    @agent.command("fail")
    async def fail() -> None:
        raise OSError("disk is full")

    @agent.command("empty")
    def empty() -> None:
        next(iter(()))

    @agent.command("odd")
    async def odd() -> Any:
        return object()

    @agent.command("strange")
    async def strange(what: Strange) -> int:
        return what.size

    return agent


async def test_answers(operator: Operator, join: Join) -> None:
    await join(commanded())
    reply = await operator.ask("resize", {"size": 3})
    assert (reply.state, reply.output) == ("ok", {"size": 3, "force": False})
    assert (reply.agent, reply.command) == ("a", "id-1")
    assert reply.elapsed_ms >= 0
    assert (await operator.ask("plain", {"text": "x"})).output == "X"
    assert (await operator.ask("ping")).output == "pong"


@pytest.mark.parametrize(
    ("verb", "args", "state", "text"),
    [
        ("dance", {}, "rejected", "unknown verb 'dance'; known are cancel, config, config-clear, "),
        ("resize", {}, "rejected", "size: "),
        ("resize", {"size": "big"}, "rejected", "size: "),
        ("resize", {"size": 1, "colour": 2}, "rejected", "colour: "),
        ("strange", {"what": {"size": 13}}, "rejected", "thirteen is not a size"),
        ("set-log-level", {"level": "loud"}, "rejected", "level: "),
        ("cancel", {"task_id": "no dots"}, "failed", "InvalidName: task id"),
        ("fail", {}, "failed", "OSError: disk is full"),
        ("empty", {}, "failed", "RuntimeError: a plain function raised StopIteration"),
        ("odd", {}, "failed", "TypeError: "),
    ],
)
async def test_refusals_and_failures_say_why(
    operator: Operator, join: Join, verb: str, args: dict[str, Any], state: str, text: str
) -> None:
    await join(commanded())
    reply = await operator.ask(verb, args)
    assert reply.state == state
    assert text in reply.error


async def test_only_who_is_meant_answers(operator: Operator, join: Join) -> None:
    await join(commanded())
    for selector in ("env=test", "agent=b", "site=paris", "cap=echo", "!env"):
        operator.send("ping", selector=selector)
    for selector in ("", "env=prod", "agent=a,site=berlin"):
        operator.send("ping", selector=selector)
    await eventually(lambda: len(operator.replies) == 3)
    reply = await operator.ask("ping", selector="env=(")
    assert reply.state == "rejected"
    assert "selector 'env=('" in reply.error
    await operator.bus.flush()
    assert len(operator.replies) == 1


async def test_expired_command_is_not_acted_on(operator: Operator, join: Join) -> None:
    runtime = await join(commanded())
    now = int(time.time() * 1000)
    skew = int(commands_module.SKEW * 1000)
    operator.send("drain", expires_ms=now - skew - 1000, issued_by="eve")
    # Within what clocks may differ by, it counts.
    reply = await operator.ask("ping", expires_ms=now - skew + 2000)
    assert reply.state == "ok"
    assert (len(operator.replies), runtime.bus.dropped) == (1, 1)
    assert runtime.intake.state == "ready"


async def test_garbage_is_dropped_and_the_next_is_answered(operator: Operator, join: Join) -> None:
    runtime = await join(commanded())
    for data in (b"", b"{", b"[]", b'{"id": 1}', b"\xff"):
        operator.bus.send(operator.bus.subjects.command_agent("a"), data, operator.inbox)
    assert (await operator.ask("ping")).state == "ok"
    assert runtime.bus.dropped == 5


async def test_long_one_is_accepted_first(operator: Operator, join: Join) -> None:
    agent = Agent("a")
    go = asyncio.Event()

    @agent.command("long")
    async def long() -> str:
        await go.wait()
        return "done"

    await join(agent)
    begun = time.monotonic()
    operator.send("long")
    await eventually(lambda: [r.state for r in operator.replies] == ["accepted"])
    assert commands_module.PATIENCE <= time.monotonic() - begun < commands_module.PATIENCE + 1
    go.set()
    await eventually(lambda: [r.state for r in operator.replies] == ["accepted", "ok"])
    assert operator.replies[1].elapsed_ms >= commands_module.PATIENCE * 1000


async def test_stopping_ends_a_command_that_has_just_begun(
    operator: Operator, nats_url: str, fleet: str
) -> None:
    agent = Agent("a", grace=0.5)
    seen: list[str] = []

    @agent.command("long")
    async def long() -> None:
        try:
            seen.append("begun")
            await asyncio.sleep(60)
        finally:
            seen.append("ended")

    async with agent.connect(nats_url, fleet):
        operator.send("long")
        await eventually(lambda: seen == ["begun"])
    assert seen == ["begun", "ended"]
