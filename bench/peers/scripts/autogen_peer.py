"""AutoGen's gRPC runtime: a host that all are connected to, worker runtimes with an agent each,
and a client that sends messages to the agents and waits for the answers."""
# AutoGen is in an environment of its own:
# mypy: disable-error-code="import-not-found"
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import uvloop
from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    message_handler,
    try_get_known_serializers_for_type,
)
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost

from bench.peers.scripts.script import Setup, answer, ready, serve

PACKAGES = ("autogen-core", "autogen-ext", "grpcio")
WORKERS = 2


@dataclass
class Task:
    """The message, both ways."""

    data: str


class Answering(RoutedAgent):
    """The agent."""

    def __init__(self) -> None:
        super().__init__("answers with what it was sent")

    @message_handler
    async def on_task(self, message: Task, ctx: MessageContext) -> Task:
        """Found by AutoGen through its annotations."""
        return Task(await answer(message.data))


def agent_type(number: int) -> str:
    """A type of agent belongs to one worker: each worker's agent needs its own."""
    return f"answering{number}"


async def host(setup: Setup) -> None:
    """The service in the middle."""
    service = GrpcWorkerAgentRuntimeHost(setup.server)
    service.start()
    probe = await connected(setup)  # returns when the host accepts connections
    await probe.stop()
    ready(*PACKAGES)
    await asyncio.Event().wait()


async def connected(setup: Setup) -> Any:
    """A runtime that knows the message."""
    runtime = GrpcWorkerAgentRuntime(setup.server)
    await runtime.start()
    runtime.add_message_serializer(try_get_known_serializers_for_type(Task))
    return runtime


async def work(setup: Setup) -> None:
    """A worker."""
    runtime = await connected(setup)
    await Answering.register(runtime, agent_type(setup.number), Answering)
    ready(*PACKAGES)
    await asyncio.Event().wait()


async def drive(setup: Setup) -> None:
    """The driver. Nobody balances, so it takes the agents in turn."""
    runtime = await connected(setup)
    turn = itertools.cycle([AgentId(agent_type(number), "bench") for number in range(WORKERS)])

    async def operation(data: str) -> object:
        return (await runtime.send_message(Task(data), next(turn))).data

    await serve(operation, *PACKAGES)


if __name__ == "__main__":
    read = Setup.read()
    uvloop.run({"host": host, "worker": work, "driver": drive}[read.role](read))
