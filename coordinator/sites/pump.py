"""Moves what a stream on the other side of a link has into this one: in order, each once.

A consumer over there remembers how far we are. Messages are pulled, published here, and
acknowledged once the broker here has stored them. Whatever breaks, the next session begins with
the first message that was not acknowledged: what was stored already is refused by the broker as
a duplicate, and since each session publishes in order from there, what is new is stored in
order, even while two coordinators believe that it is their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from bus import codec
from bus.answers import Expected
from bus.backoff import full_jitter
from bus.connection import ApiError, Bus
from bus.errors import BusError, Disconnected, FleetError, MessageTooBig
from bus.topology import SECOND
from bus.transport import Inbound
from coordinator.sites.far import Far, LinkDown

log = logging.getLogger("fleetbus.sites")

WINDOW: Final = 512
"""Messages that may be on their way."""

EXPIRES: Final = 120.0
"""Seconds that an order stands: each costs some hundred bytes of the link. A link that was made
anew is announced, and a lag that stays is noticed, so that nothing waits for this to end."""

SLACK: Final = 5.0
"""Seconds past its end after which an order counts as lost."""

FIRST: Final = 0.3
"""Seconds in which the first delivery comes after one that cannot be it."""

RETRY: Final = 1.0
"""Most seconds before a session that broke is followed by the next."""


class Outgoing(NamedTuple):
    """A message as it is to be stored on this side."""

    subject: str
    data: bytes
    block: bytes


class Broken(BusError):
    """A session cannot go on; the next one begins with what was not acknowledged."""


class Source(NamedTuple):
    """What is moved, seen from this side."""

    stream: str
    consumer: str
    config: dict[str, Any] | None
    """Of the consumer, if it is for us to make."""
    ack_all: bool
    """An ack counts for all messages before it."""


class Pump:
    """One stream's way across the link.

    Args:
        far: the other side.
        inbox: begins the reply subjects that may cross the link.
        convert: what to store of a message and its sequence over there; None for what cannot be
            read, which is counted and left behind. Raises ``FleetError`` likewise.
        before: awaited before a message that names a payload is moved.
    """

    def __init__(
        self,
        bus: Bus,
        far: Far,
        inbox: str,
        source: Source,
        convert: Callable[[Inbound, int], Outgoing | None],
        before: Callable[[Inbound], Awaitable[None]] | None = None,
    ) -> None:
        self.moved = 0
        self.refused = 0
        """Results of which there was one already."""
        self.unreadable = 0
        self.sessions = 0
        self.problem = ""
        """Why the last session broke; empty while one goes on."""
        self.heard = 0.0
        """When something came last, on the monotonic clock."""
        self.source = source
        self._bus = bus
        self._far = far
        self._inbox = f"{inbox}.{os.urandom(6).hex()}"
        self._session: _Session | None = None
        self._convert = convert
        self._before = before
        self._kicked = asyncio.Event()
        self._rng = random.Random()

    def kick(self) -> None:
        """The link was made anew: begin again with what was not acknowledged."""
        self._kicked.set()

    async def run(self) -> None:
        """Move, until cancelled."""
        # One inbox for all sessions: a server serves orders for some seconds after nobody
        # listens for them any more, and would deliver to nobody, again and again.
        subscription = await self._bus.listen(self._inbox, self._on_message)
        try:
            await self._sessions()
        finally:
            await self._bus.unlisten(subscription)

    def _on_message(self, message: Inbound) -> None:
        if self._session is not None:
            self._session.on_message(message)

    async def _sessions(self) -> None:
        tries = 0
        while True:
            before = self.moved
            self._kicked.clear()
            session = asyncio.create_task(self._move())
            kicked = asyncio.create_task(self._kicked.wait())
            try:
                await asyncio.wait((session, kicked), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (session, kicked):
                    task.cancel()
                await asyncio.gather(session, kicked, return_exceptions=True)
            problem = None if session.cancelled() else session.exception()
            if problem is None:
                continue  # kicked
            if not isinstance(problem, FleetError | TimeoutError):
                raise problem
            if str(problem) != self.problem:
                # A link that is down is told of by whoever looks after it.
                level = logging.DEBUG if isinstance(problem, LinkDown) else logging.INFO
                log.log(level, "moving %s: %s", self.source.stream, problem)
            self.problem = str(problem) or type(problem).__name__
            tries = 0 if self.moved > before else tries + 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02 + full_jitter(tries, 0.1, RETRY, self._rng)):
                    await self._kicked.wait()

    async def _move(self) -> None:
        if not self._bus.connected:
            raise Disconnected("this side's server is away")
        # Before the rewind: orders that stand already are served at once.
        session = self._session = _Session(self)
        try:
            await self._rewind()
            self.sessions += 1
            self.problem = ""
            await session.work()
        finally:
            session.over = True
            self._session = None

    async def _rewind(self) -> None:
        """Have the consumer begin again behind what was acknowledged last."""
        source = self.source
        name = f"{source.stream}.{source.consumer}"
        if source.config is not None:
            # Asked first: the server does not answer a reset of what is not there.
            try:
                await self._far.ask(f"CONSUMER.INFO.{name}")
            except ApiError as error:
                if error.code != ApiError.NO_CONSUMER:
                    raise
                if "filter_subject" in source.config:
                    name += f".{source.config['filter_subject']}"
                body = {"stream_name": source.stream, "config": source.config}
                await self._far.ask(f"CONSUMER.CREATE.{name}", body)
                return
        await self._far.ask(f"CONSUMER.RESET.{name}")


class _Stored(Expected):
    """The answer of this side's broker to one message."""

    __slots__ = ("ack", "done", "session")

    def __init__(self, session: _Session, ack: str) -> None:
        self.session = session
        self.ack = ack
        self.done = False

    def on_reply(self, message: Inbound) -> None:
        self.session.on_stored(self, message)

    def on_lost(self) -> None:
        self.session.fail(Broken("the broker on this side did not answer"))


class _Session:
    """From one rewind to whatever breaks it."""

    def __init__(self, pump: Pump) -> None:
        self.over = False
        self._pump = pump
        self._bus = pump._bus
        self._asked = 0
        """Messages on order."""
        self._until = 0.0
        """When the last order ends."""
        self._expected = 1
        """Number of the next delivery since the rewind."""
        self._came: deque[Inbound] = deque()
        self._news = asyncio.Event()
        self._flying: deque[_Stored] = deque()
        self._failure: FleetError | None = None

    def fail(self, problem: FleetError) -> None:
        """End the session."""
        if self._failure is None:
            self._failure = problem
        self._news.set()

    async def work(self) -> None:
        """Publish what comes, in order, and order more.

        Raises:
            FleetError: why it ended.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            self._order()
            self._news.clear()
            if not self._came:
                try:
                    async with asyncio.timeout(max(0.05, self._until + SLACK - time.monotonic())):
                        await self._news.wait()
                except TimeoutError:
                    raise Broken("an order was not answered: the link broke") from None
            while self._came and self._failure is None:
                await self._move(self._came.popleft())

    def on_message(self, message: Inbound) -> None:
        """A delivery, or what the server over there says of an order."""
        pump = self._pump
        if self.over:
            return
        pump.heard = time.monotonic()
        self._news.set()
        if message.block[8:9] == b" ":
            self._on_status(message)
            return
        number = _number(message.reply)
        if number != self._expected:
            # Before the first it is from before the rewind and comes again, or the first went to
            # a coordinator that is no more.
            if self._expected > 1:
                self._miss(self._expected)
            else:
                self._bus.loop.call_later(FIRST, self._miss, 1)
            return
        self._asked = max(0, self._asked - 1)
        self._expected += 1
        self._came.append(message)

    def on_stored(self, one: _Stored, message: Inbound) -> None:
        """This side's broker has answered."""
        if self.over:
            return
        pump = self._pump
        if message.status == "503":
            self.fail(Broken("no stream on this side takes it"))
            return
        try:
            ApiError.unless_refused(pump.source.stream, message.data)
        except ApiError as error:
            if error.code != ApiError.WRONG_LAST_SEQUENCE:
                self.fail(Broken(f"refused on this side: {error}"))
                return
            pump.refused += 1
        else:
            pump.moved += 1
        self._settle(one)

    # the inside

    def _miss(self, expected: int) -> None:
        if self._expected == expected:
            self.fail(Broken("a delivery is missing, or went to another coordinator"))

    def _order(self) -> None:
        now = time.monotonic()
        room = WINDOW - self._asked - len(self._came) - len(self._flying)
        if self._asked and self._until > now and room < WINDOW // 2:
            return
        if room <= 0 or (self._asked and self._until > now and self._asked > WINDOW // 2):
            return
        source = self._pump.source
        self._bus.send(
            f"{self._pump._far.api}.CONSUMER.MSG.NEXT.{source.stream}.{source.consumer}",
            codec.encode({"batch": room, "expires": int(EXPIRES * SECOND)}),
            self._pump._inbox,
        )
        self._asked += room
        self._until = now + EXPIRES

    def _on_status(self, message: Inbound) -> None:
        if message.status not in ("404", "408"):
            self.fail(LinkDown(self._pump._far.api) if message.status == "503" else _odd(message))
            return
        left = message.headers.get("Nats-Pending-Messages", "0")
        self._asked = max(0, self._asked - int(left)) if left.isdigit() else 0
        if not self._asked:
            self._until = 0.0

    async def _move(self, message: Inbound) -> None:
        pump = self._pump
        one = _Stored(self, message.reply)
        self._flying.append(one)
        out: Outgoing | None = None
        try:
            out = pump._convert(message, _sequence(message.reply))
        except (FleetError, ValueError) as problem:
            self._leave(one, message, problem)
            return
        if out is None:
            self._settle(one)
            return
        if pump._before is not None and b"\r\nFleet-Payload:" in message.block:
            await pump._before(message)
        reply = self._bus.expect(one)
        try:
            self._bus.send(out.subject, out.data, reply, out.block)
        except MessageTooBig as problem:
            self._bus.forget(reply)
            self._leave(one, message, problem)

    def _leave(self, one: _Stored, message: Inbound, problem: Exception) -> None:
        """It can never be stored here, and must not hold up the others."""
        self._pump.unreadable += 1
        self._bus.drop(message.subject, problem)
        self._settle(one)

    def _settle(self, one: _Stored) -> None:
        one.done = True
        flying = self._flying
        if not self._pump.source.ack_all:
            self._bus.send(one.ack, b"+ACK")
        last = None
        while flying and flying[0].done:
            last = flying.popleft()
        if last is not None:
            if self._pump.source.ack_all and (not flying or self._expected % 64 == 0):
                # An ack that is left out is made good by a later one, or costs a duplicate.
                self._bus.send(last.ack, b"+ACK")
            self._news.set()


def _odd(message: Inbound) -> Broken:
    return Broken(f"the server over there says {message.block[9:80].decode('utf-8', 'replace')!r}")


def _tokens(ack: str) -> list[str]:
    tokens = ack.split(".")
    # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>.<number>.…
    return tokens[4:] if len(tokens) == 9 else tokens[6:]


def _number(ack: str) -> int:
    tokens = _tokens(ack)
    return int(tokens[2]) if len(tokens) > 2 and tokens[2].isdigit() else 0


def _sequence(ack: str) -> int:
    tokens = _tokens(ack)
    return int(tokens[1]) if len(tokens) > 1 and tokens[1].isdigit() else 0
