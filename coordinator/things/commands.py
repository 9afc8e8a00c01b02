"""Commands to things: the usual verbs from their records, their own by MQTT."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import msgspec

from bus import codec
from bus.background import Background
from bus.client import records
from bus.errors import DecodeError, FleetError
from bus.selectors import Selector
from bus.subjects import TOKEN
from bus.transport import Inbound
from bus.wire.command import Command, Reply
from bus.wire.config import ConfigReport, Rejection
from bus.wire.task import ErrorInfo
from bus.wire.thing import ThingCommand, ThingReply
from coordinator.entry import AgentEntry
from coordinator.things import living, mqtt
from coordinator.things.beats import EMPTY
from coordinator.things.desk import Desk
from coordinator.things.living import BUILT_IN, Refused
from coordinator.things.record import Record
from coordinator.things.tasks import Tasks
from coordinator.things.turns import in_turns
from coordinator.things.word import Word

log = logging.getLogger("fleetbus.coordinator")

SKEW: Final = 5.0
"""Seconds by which clocks may differ before a command counts as expired."""

LONGEST: Final = 3600
"""Seconds that an answer is waited for, at the most."""


class Pending(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command that a device is to answer: who waits for it."""

    reply: str
    command: str


def handle(command: str) -> str:
    """What a device is given for a command's id, which may be any text."""
    return hashlib.sha256(command.encode()).hexdigest()[:16]


def key(thing: str, handed: str) -> str:
    """Of a pending command in the bucket."""
    return f"command.{handed}-{thing}"


class Commands:
    """Answers for things."""

    def __init__(self, desk: Desk, tasks: Tasks, known: Callable[[], Collection[str]]) -> None:
        """``known`` gives the ids of all things."""
        self._desk = desk
        self._tasks = tasks
        self._known = known
        self.background = Background(log, "a command to a thing was not answered")
        """What it has begun."""

    # from operators

    def on_command(self, message: Inbound) -> None:
        """A command to some agents, of which some may be things."""
        parts = message.subject.split(".")
        meant = self._scope(parts[3:])
        if not meant:
            return
        command = codec.decode(Command, message.data, "command")
        selector = Selector.parse(command.selector)
        meant = [one for one in meant if one.card.matches(selector)]
        if not meant:
            return
        if command.expires_ms and time.time() > command.expires_ms / 1000 + SKEW:
            raise DecodeError("command", f"{command.verb} from {command.issued_by} has expired")
        todo = (self._answer(one.id, command, message.reply) for one in meant)
        self.background.spawn(in_turns(todo))

    def on_cancel(self, message: Inbound) -> None:
        """A client has canceled a task that a thing may hold."""
        capability, client, seq = message.subject.rsplit(".", 3)[1:]
        offering = [one for one in self._things() if capability in one.card.capabilities]
        if not offering:
            return
        reason = codec.decode(ErrorInfo, message.data, "cancellation").message
        # Those first that have something to do.
        offering.sort(key=lambda one: one.outstanding, reverse=True)
        self.background.spawn(self._cancel(offering, f"{client}.{seq}", reason))

    async def _cancel(self, offering: list[AgentEntry], task: str, reason: str) -> None:
        for one in offering:
            if await self._tasks.cancel(one.id, task, reason):
                return

    def _things(self) -> Iterator[AgentEntry]:
        agents = self._desk.view.agents
        return (agents[thing] for thing in self._known() if thing in agents)

    def _scope(self, scope: list[str]) -> list[AgentEntry]:
        """Things that a command subject covers."""
        match scope:
            case ["all"]:
                return list(self._things())
            case ["agent", name]:
                entry = self._desk.view.agents.get(name)
                return [entry] if entry is not None and name in self._known() else []
            case ["site", name]:
                return [one for one in self._things() if one.card.site == name]
            case ["cap", name]:
                return [one for one in self._things() if name in one.card.capabilities]
            case _:
                return []

    async def _answer(self, thing: str, command: Command, reply: str) -> None:
        begun = time.monotonic()
        record, _ = await self._desk.records.read(thing)
        card = record.card
        if card is None or not record.online:
            return  # as silent as any agent that is gone
        if command.verb not in card.commands:
            text = f"unknown verb {command.verb!r}; known are {', '.join(card.commands)}"
            self._reply(reply, Reply(thing, "rejected", command.id, error=text))
            return
        if command.verb not in BUILT_IN:
            await self._pass_on(thing, command, reply)
            return
        try:
            output = await self._built_in(thing, record, command)
        except FleetError as problem:
            self._reply(reply, Reply(thing, "rejected", command.id, error=str(problem)))
            return
        elapsed = round((time.monotonic() - begun) * 1000, 3)
        self._reply(reply, Reply(thing, "ok", command.id, output, elapsed_ms=elapsed))

    async def _pass_on(self, thing: str, command: Command, reply: str) -> None:
        left = LONGEST
        if command.expires_ms:
            left = max(1, min(LONGEST, int(command.expires_ms / 1000 - time.time())))
        handed = handle(command.id)
        body = ThingCommand(handed, command.verb, command.args, command.expires_ms)
        size = len(codec.encode(body))
        if size > (most := self._desk.most):
            text = f"its arguments make {size} bytes, and a thing takes {most}"
            self._reply(reply, Reply(thing, "rejected", command.id, error=text))
            return
        if reply:
            waits = codec.encode(Pending(reply, command.id))
            await self._desk.records.put(key(thing, handed), waits, left)
        if not await mqtt.send(self._desk.bus, thing, "command", body):
            text = "this server has no MQTT sessions"
            self._reply(reply, Reply(thing, "failed", command.id, error=text))

    async def _built_in(self, thing: str, record: Record, command: Command) -> Any:
        """
        Raises:
            DecodeError: an argument is missing or is no text.
        """
        match command.verb:
            case "ping":
                return "pong"
            case "status":
                return status(record, self._desk.clock.now())
            case "config":
                return report(record, self._desk.layers().commit)
            case "cancel":
                task, reason = command.args.get("task_id"), command.args.get("reason", "")
                if not isinstance(task, str) or not isinstance(reason, str):
                    raise DecodeError("cancel", "task_id and reason are texts")
                return await self._tasks.cancel(thing, task, reason or "canceled by an operator")
            case _:
                return await self._drain(thing, command.verb == "drain")

    async def _drain(self, thing: str, draining: bool) -> str:
        desk = self._desk
        new, record, revision = await desk.records.change(
            thing, lambda old: living.drained(old, draining)
        )
        desk.beat(thing, record, revision)
        if new:
            about = {"site": record.site}
            kind = "draining" if draining else "resumed"
            await records.event(desk.bus, kind, thing, by=desk.me, data=about)
        return "draining" if draining else "ready"

    def _reply(self, to: str, reply: Reply) -> None:
        if to:
            self._desk.bus.send(to, codec.encode(reply))

    # from the device

    async def on_reply(self, word: Word, said: ThingReply) -> None:
        """A device has answered a command.

        Raises:
            Refused: nobody waits for that.
            BusError, TimeoutError: the bucket cannot be reached.
        """
        desk, thing = self._desk, word.thing
        if not TOKEN.fullmatch(said.command):
            raise Refused(f"a reply to {said.command[:80]!r}, which is no command")
        where = key(thing, said.command)
        data, _ = await desk.records.get(where)
        if not data:
            raise Refused(f"a reply to {said.command}, which nobody waits for")
        waits = codec.decode(Pending, data, "pending command")
        self._reply(
            waits.reply,
            Reply(thing, said.state, waits.command, said.output, said.error, said.elapsed_ms),
        )
        if said.state != "accepted":
            subjects = desk.bus.subjects
            await desk.bus.api(
                f"STREAM.PURGE.{subjects.thing_records_stream}",
                {"filter": subjects.thing_keys + where},
            )


def status(record: Record, now_ms: int) -> dict[str, Any]:
    """The answer to ``status``. Pure."""
    return {
        "state": record.state,
        "slots": record.slots,
        "window": record.slots,
        "running": len(record.held),
        "done": record.done,
        "failed": record.failed,
        "tasks": list(record.held),
        "boot": record.boot,
        "heard_ms_ago": max(0, now_ms - record.last_ms),
        "every_s": record.every,
        "heap": record.heap,
        "version": record.card.runtime if record.card else "",
        "link": living.LINK[1],
    }


def report(record: Record, commit: str) -> ConfigReport:
    """The answer to ``config``. Pure."""
    card = record.card
    rejected = None
    if record.rejected:
        rejected = Rejection(record.rejected, "the device would not take it")
    return ConfigReport(
        hash=record.config or EMPTY,
        commit=commit if record.told == record.config else "",
        state="rejected" if rejected else "ok",
        rejected=rejected,
        versions={one.name: one.version for one in card.capabilities} if card else {},
    )
