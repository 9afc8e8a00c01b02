"""What a user of the fleet does, in one object."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack, overload

from bus.client import registry
from bus.client.calls import Calls
from bus.client.commands import Broadcast
from bus.client.dead import Dead
from bus.client.handle import TaskHandle
from bus.client.options import TaskOptions
from bus.client.records import person
from bus.client.schedules import Schedules
from bus.client.tasks import Tasks
from bus.client.watch import Seen, watch
from bus.connection import Bus, connect
from bus.subjects import token
from bus.telemetry import Hook
from bus.wire.card import Card
from bus.wire.result import Result
from bus.wire.task import TaskState


class Client:
    """Submits tasks, calls capabilities, commands agents, watches the fleet.

    ::

        async with Client.connect("nats://127.0.0.1:4222", fleet="dev") as client:
            handle = await client.submit("summarize", {"text": text})
            print(await handle.result(timeout=30))

    Args:
        bus: an open connection, shared with others if need be.
        name: how tasks name their caller; made unique with a random part.
    """

    def __init__(self, bus: Bus, name: str = "client") -> None:
        self.bus = bus
        self.id = f"{token('client', name)[:50]}-{os.urandom(5).hex()}"
        self.tasks = Tasks(bus, self.id)
        self.dead = Dead(bus, self.tasks)
        self.schedules = Schedules(bus, self.tasks)
        self.calls = Calls(bus, self.id, self.tasks.payloads)
        self._stack = AsyncExitStack()
        self._owns = False

    @classmethod
    def connect(
        cls,
        url: str | None = None,
        fleet: str | None = None,
        *,
        name: str = "client",
        hook: Hook | None = None,
        **settings: Any,
    ) -> Self:
        """A client with a connection of its own. Settings as for ``bus.connect``.

        Raises:
            SettingsError, InvalidName: at once. ``ConnectError`` comes from entering.
        """
        client = cls(connect(url, fleet, hook, name=f"client:{name}", **settings), name)
        client._owns = True
        return client

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._owns:
                await stack.enter_async_context(self.bus)
            await self.tasks.start()
            stack.push_async_callback(self.tasks.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not aclose: what goes wrong here would then hide what has gone wrong before.
        await self._stack.__aexit__(kind, error, trace)

    @overload
    async def submit(
        self,
        capability: str,
        value: Any = None,
        *,
        at: datetime | None = None,
        every: None = None,
        **options: Unpack[TaskOptions],
    ) -> TaskHandle: ...

    @overload
    async def submit(
        self,
        capability: str,
        value: Any = None,
        *,
        at: None = None,
        every: float | str,
        **options: Unpack[TaskOptions],
    ) -> str: ...

    async def submit(
        self,
        capability: str,
        value: Any = None,
        *,
        at: datetime | None = None,
        every: float | str | None = None,
        **options: Unpack[TaskOptions],
    ) -> TaskHandle | str:
        """Submit a durable task; see ``Tasks.submit``.

        With ``at`` the broker submits it then, and the handle waits for that; with ``every``
        it does so again and again, and the schedule's id is returned: see ``Schedules``.
        """
        if every is not None:
            return await self.schedules.schedule(capability, value, at=at, every=every, **options)
        if at is not None:
            return await self.schedules.at(capability, value, at, **options)
        return await self.tasks.submit(capability, value, **options)

    async def submit_many(
        self,
        capability: str,
        values: Iterable[Any],
        *,
        outstanding: int = 512,
        **options: Unpack[TaskOptions],
    ) -> list[TaskHandle]:
        """Submit many durable tasks; see ``Tasks.submit_many``."""
        return await self.tasks.submit_many(capability, values, outstanding=outstanding, **options)

    async def call(
        self,
        capability: str,
        value: Any = None,
        *,
        timeout: float = 10.0,
        kind: Any = Any,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Have a capability run now, unstored; see ``Calls.call``."""
        return await self.calls.call(capability, value, timeout=timeout, kind=kind, **options)

    async def get(self, task_id: str) -> Result | TaskState:
        """A task's result, or its state; see ``Tasks.get``."""
        return await self.tasks.get(task_id)

    async def cancel(self, task_id: str, reason: str = "") -> bool:
        """Cancel a task; see ``Tasks.cancel``."""
        return await self.tasks.cancel(task_id, reason=reason)

    def broadcast(
        self, verb: str, args: Mapping[str, Any] | None = None, **options: Any
    ) -> Broadcast:
        """A command to all agents that match; see ``Broadcast`` for ``options``."""
        return Broadcast(self.bus, verb, args, **{"issued_by": person(), **options})

    async def agents(self, select: str = "") -> list[Card]:
        """The agents that are registered now and match ``select``, by id.

        Raises:
            InvalidSelector: the selector cannot be parsed.
            TopologyMissing: this fleet does not exist here.
        """
        found = [card async for card in registry.cards(self.bus, select)]
        return sorted(found, key=lambda card: card.agent)

    def watch(self, *topics: str) -> AsyncIterator[Seen]:
        """Follow topics of the fleet; see ``bus.client.watch.watch``."""
        return watch(self.bus, *topics)
