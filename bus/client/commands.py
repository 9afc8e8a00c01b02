"""Broadcasting commands: freeze who is expected, then count the answers."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bus import codec
from bus.client import registry
from bus.connection import Bus
from bus.errors import DecodeError, FleetError, NoAgent
from bus.selectors import Scope, Selector, narrowest
from bus.subjects import Subjects, token
from bus.transport import Inbound
from bus.wire.command import Command, Reply

SETTLE: Final = 0.3
"""Seconds without a further reply after which nobody unexpected is waited for."""


EVERYBODY: Final = "~"
"""Ends the reply subject of a command to many; no agent has this name."""


class Gone(NamedTuple):
    """The server says that nobody listens: the agent, or nobody at all if it has no name."""

    agent: str


@dataclass(slots=True)
class Tally:
    """Who has answered a command, and who has not."""

    expected: set[str]
    """Agents that were in the registry and matched, when the command was sent."""
    replies: dict[str, Reply] = field(default_factory=dict)
    """The last answer of each agent."""
    unexpected: set[str] = field(default_factory=set)
    """Agents that answered and were not expected: they joined just then."""
    elapsed: float = 0.0
    """Seconds from the first send to the last answer."""

    @property
    def outstanding(self) -> list[str]:
        """Expected agents that have not given their last answer, by name."""
        return sorted(
            agent
            for agent in self.expected
            if agent not in self.replies or self.replies[agent].state == "accepted"
        )

    @property
    def answered(self) -> int:
        """Expected agents that have given their last answer."""
        return sum(
            1 for agent in self.expected if (r := self.replies.get(agent)) and r.state != "accepted"
        )

    @property
    def failed(self) -> list[str]:
        """Agents whose last answer was ``failed`` or ``rejected``, by name."""
        return sorted(
            agent for agent, reply in self.replies.items() if reply.state in ("failed", "rejected")
        )

    @property
    def succeeded(self) -> int:
        """Expected agents that answered ``ok``."""
        return sum(
            1 for a, reply in self.replies.items() if reply.state == "ok" and a in self.expected
        )

    def take(self, reply: Reply) -> bool:
        """Count a reply; False if it says nothing new."""
        last = self.replies.get(reply.agent)
        if last is not None and (last.state != "accepted" or reply.state == "accepted"):
            return False
        self.replies[reply.agent] = reply
        if reply.agent not in self.expected:
            self.unexpected.add(reply.agent)
        return True


def limited(agents: Sequence[str], limit: int | float | None, seed: int = 0) -> list[str]:
    """So many of ``agents``, drawn at random but always the same for one ``seed``. Pure.

    ``limit`` is a count, or a share between 0 and 1 if it is a float; None is all. A share is
    rounded up, so that some of a small fleet is never none.
    """
    ordered = sorted(set(agents))
    if limit is None:
        return ordered
    count = math.ceil(len(ordered) * limit) if isinstance(limit, float) else limit
    count = max(0, min(count, len(ordered)))
    return sorted(random.Random(seed).sample(ordered, count))


def subject_of(subjects: Subjects, scope: Scope) -> str:
    """The narrowest command subject that covers ``scope``."""
    match scope.kind:
        case "agent":
            return subjects.command_agent(scope.name)
        case "site":
            return subjects.command_site(scope.name)
        case "cap":
            return subjects.command_capability(scope.name)
        case _:
            return subjects.command_all


class Broadcast:
    """One command on its way. Iterate for the replies, then read ``tally``.

    ::

        broadcast = client.broadcast("drain", select="site=berlin", timeout=10)
        async for reply in broadcast:
            print(reply.agent, reply.state)
        if broadcast.tally.outstanding: ...
    """

    def __init__(
        self,
        bus: Bus,
        verb: str,
        args: Mapping[str, Any] | None = None,
        *,
        select: str = "",
        timeout: float = 10.0,
        limit: int | float | None = None,
        seed: int = 0,
        batch: int | None = None,
        batch_pause: float = 0.0,
        issued_by: str = "",
    ) -> None:
        """
        Args:
            verb: the command.
            args: its arguments.
            select: label expression; each agent evaluates it again for itself.
            timeout: seconds after which nobody is waited for, counted for each batch.
            limit: send to so many only: a count from 1, or a share above 0 to 1 as a float.
            seed: makes the choice of ``limit`` another one.
            batch: send to so many at a time, the next when these have answered.
            batch_pause: seconds between batches.
            issued_by: who says so, for the record.

        Raises:
            InvalidSelector, InvalidName: at once.
            ValueError: a number is out of its range.
        """
        token("command", verb)
        if limit is not None and not (0 < limit <= 1 if isinstance(limit, float) else limit >= 1):
            raise ValueError(f"limit {limit} is neither a count from 1 nor a share of 0.0 to 1.0")
        if batch is not None and batch < 1:
            raise ValueError(f"batch {batch} is less than 1")
        if not batch_pause >= 0:
            raise ValueError(f"batch_pause {batch_pause} is not at least 0 s")
        if not timeout > 0:
            raise ValueError(f"timeout {timeout} is not more than 0 s")
        self.tally = Tally(set())
        self.id = os.urandom(8).hex()
        self._bus = bus
        self._verb = verb
        self._args = dict(args or {})
        self._selector = Selector.parse(select)
        self._timeout = timeout
        self._limit = limit
        self._seed = seed
        self._batch = batch
        self._pause = batch_pause
        self._issued_by = issued_by
        self._replies: asyncio.Queue[Reply | Gone] = asyncio.Queue()
        self._begun = 0.0
        self._inbox = ""

    async def freeze(self) -> set[str]:
        """Look up who is expected; called by iterating, or before it to see the number.

        Raises:
            NoAgent: nobody in the registry matches.
            TopologyMissing: this fleet does not exist here.
        """
        if not self.tally.expected:
            found = [c.agent async for c in registry.briefs(self._bus, str(self._selector))]
            if not found:
                where = f" that matches {str(self._selector)!r}" if str(self._selector) else ""
                raise NoAgent("", f"fleet {self._bus.subjects.fleet!r} has no agent{where}")
            self.tally.expected = set(limited(found, self._limit, self._seed))
        return self.tally.expected

    async def __aiter__(self) -> AsyncIterator[Reply]:
        if self._inbox:
            raise FleetError(f"command {self._verb!r} was sent already: make another broadcast")
        await self.freeze()
        self._inbox = f"{self._bus.nc.new_inbox()}."
        subscription = await self._bus.listen(f"{self._inbox}*", self._on_reply)
        self._begun = time.monotonic()
        try:
            for number, group in enumerate(self._groups()):
                if number and self._pause:
                    await asyncio.sleep(self._pause)
                self._send(group)
                async for reply in self._collect(group):
                    yield reply
        finally:
            await self._bus.unlisten(subscription)

    def _groups(self) -> list[list[str]]:
        """The batches, each a list of agents; one list of all where one subject covers them."""
        expected = sorted(self.tally.expected)
        if self._batch is None:
            return [expected]
        return [expected[i : i + self._batch] for i in range(0, len(expected), self._batch)]

    def _send(self, group: list[str]) -> None:
        command = Command(
            id=self.id,
            verb=self._verb,
            args=self._args,
            selector=str(self._selector),
            issued_by=self._issued_by,
            expires_ms=int((time.time() + self._timeout) * 1000),
        )
        data = codec.encode(command)
        subjects = self._bus.subjects
        if self._batch is None and self._limit is None:
            reply = f"{self._inbox}{EVERYBODY}"
            self._bus.send(subject_of(subjects, narrowest(self._selector)), data, reply)
            return
        for agent in group:
            self._bus.send(subjects.command_agent(agent), data, f"{self._inbox}{agent}")

    async def _collect(self, group: list[str]) -> AsyncIterator[Reply]:
        until = time.monotonic() + self._timeout
        open_ = set(group)
        while True:
            left = until - time.monotonic()
            if not open_:
                if self._known():
                    return
                # Those that joined just now get a moment more.
                left = min(left, SETTLE)
            try:
                async with asyncio.timeout(max(0.0, left)):
                    reply = await self._replies.get()
            except TimeoutError:
                return
            if isinstance(reply, Gone):
                # Nobody listens there: waiting longer would not change that.
                open_ -= {reply.agent} if reply.agent else set(group)
                continue
            if not self.tally.take(reply):
                continue
            self.tally.elapsed = time.monotonic() - self._begun
            if reply.state != "accepted":
                open_.discard(reply.agent)
            yield reply

    def _known(self) -> bool:
        """True where only the named agents could answer, so nobody else is waited for."""
        if self._batch is not None or self._limit is not None:
            return True
        return narrowest(self._selector).kind == "agent"

    def _on_reply(self, message: Inbound) -> None:
        if message.status == "503":
            agent = message.subject[len(self._inbox) :]
            self._replies.put_nowait(Gone("" if agent == EVERYBODY else agent))
            return
        reply = codec.decode(Reply, message.data, "reply to a command")
        if reply.command != self.id:
            raise DecodeError("reply to a command", f"names another command, {reply.command!r}")
        self._replies.put_nowait(reply)
