"""Commands from operators: the built-in verbs, and the agent's own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from agent_runtime.failures import Clean
from agent_runtime.outcome import contained
from agent_runtime.returns import to_json
from agent_runtime.signature import Interface, Kind, inspect_handler
from bus import codec
from bus.connection import Bus
from bus.errors import CapabilityError, DecodeError, FleetError, InvalidInput, MessageTooBig
from bus.selectors import Selector
from bus.subjects import token
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.card import Card
from bus.wire.command import Command, Reply

log = logging.getLogger("fleetbus.agent")

PATIENCE: Final = 1.0
"""Seconds before a command that still runs is answered with ``accepted``."""

SKEW: Final = 5.0
"""Seconds by which clocks may differ before a command counts as expired."""

issuer: Final[ContextVar[str]] = ContextVar("issuer", default="")
"""Who sent the command that is being answered, for built-in ones that keep it."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A command that the agent understands."""

    name: str
    handler: Callable[..., Any]
    interface: Interface
    description: str = ""


def verb(handler: Callable[..., Any], name: str) -> Verb:
    """Make a function a command.

    Raises:
        CapabilityError: its signature cannot be used, or it is a generator.
        InvalidName: the name is not a legal token.
    """
    interface = inspect_handler(handler)
    if interface.wants_task or interface.kind not in (Kind.ASYNC, Kind.SYNC):
        raise CapabilityError(
            f"command {name}: use a plain or async function without a task parameter"
        )
    return Verb(token("command", name), handler, interface, (handler.__doc__ or "").strip())


class Commands:
    """Answers the commands that are meant for one agent; ``clean`` takes secrets out of what is
    said of a failure."""

    def __init__(
        self, bus: Bus, card: Callable[[], Card], verbs: Mapping[str, Verb], clean: Clean
    ) -> None:
        self._bus = bus
        self._card = card
        self._verbs = verbs
        self._clean = clean
        self._running: set[asyncio.Task[None]] = set()

    def on_command(self, message: Inbound) -> None:
        """A command arrived on one of the agent's subjects."""
        command = codec.decode(Command, message.data, "command")
        card = self._card()
        try:
            meant = Selector.parse(command.selector).matches(
                card.agent, card.site, card.labels, [c.name for c in card.capabilities]
            )
        except FleetError as problem:
            self._reply(message, Reply(card.agent, "rejected", command.id, error=str(problem)))
            return
        if not meant:
            return
        if command.expires_ms and time.time() > command.expires_ms / 1000 + SKEW:
            raise DecodeError("command", f"{command.verb} from {command.issued_by} has expired")
        found = self._verbs.get(command.verb)
        if found is None:
            known = ", ".join(sorted(self._verbs))
            problem_text = f"unknown verb {command.verb!r}; known are {known}"
            self._reply(message, Reply(card.agent, "rejected", command.id, error=problem_text))
            return
        task = asyncio.create_task(self._answer(message, command, found))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """End the commands that still run."""
        current = asyncio.current_task()
        others = [task for task in self._running if task is not current]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _answer(self, message: Inbound, command: Command, found: Verb) -> None:
        agent = self._card().agent
        issuer.set(command.issued_by)  # this task's own, and that of what it starts
        begun = time.monotonic()
        try:
            arguments = found.interface.bind(codec.encode(command.args), h.JSON)
        except InvalidInput as problem:
            text = self._clean(problem)
            self._reply(message, Reply(agent, "rejected", command.id, error=text))
            return
        work = asyncio.ensure_future(_run(found, arguments))
        # What it raises when it is cancelled would be logged as it is.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            done, _ = await asyncio.wait((work,), timeout=PATIENCE)
            if not done:
                self._reply(message, Reply(agent, "accepted", command.id))
            output = await work
            # What cannot be encoded is the command's failure, not the connection's.
            output = codec.decode(object, to_json(output), "output")
        except asyncio.CancelledError:
            work.cancel()
            raise
        except Exception as problem:  # whatever a command raises is its answer
            text = self._clean(f"{type(problem).__name__}: {problem}")
            log.warning("command %s failed: %s", command.verb, text)
            reply = Reply(agent, "failed", command.id, error=text, elapsed_ms=_since(begun))
        else:
            reply = Reply(agent, "ok", command.id, output, elapsed_ms=_since(begun))
        self._reply(message, reply)

    def _reply(self, message: Inbound, reply: Reply) -> None:
        if not message.reply:
            return
        try:
            self._bus.send(message.reply, codec.encode(reply))
        except MessageTooBig as problem:
            short = Reply(reply.agent, "failed", reply.command, error=str(problem)[:1000])
            self._bus.send(message.reply, codec.encode(short))


async def _run(found: Verb, arguments: dict[str, Any]) -> Any:
    if found.interface.kind is Kind.ASYNC:
        pending: Awaitable[Any] = found.handler(**arguments)
        return await pending
    return await asyncio.to_thread(contained, lambda: found.handler(**arguments))


def _since(begun: float) -> float:
    return round((time.monotonic() - begun) * 1000, 3)
