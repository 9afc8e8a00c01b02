"""One run of a pump: from a rewind of the consumer over there to whatever breaks it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bus import codec
from bus.answers import Expected
from bus.connection import ApiError, Bus
from bus.errors import BusError, FleetError, MessageTooBig
from bus.topology import SECOND
from bus.transport import Inbound
from coordinator.sites.far import LinkDown

WINDOW: Final = 512
"""Messages that may be on their way."""

EXPIRES: Final = 120.0
"""Seconds that an order stands: each costs some hundred bytes of the link. A link that was made
anew is announced, and a lag that stays is noticed, so that nothing waits for this to end."""

SLACK: Final = 5.0
"""Seconds past its end after which an order counts as lost."""

FIRST: Final = 0.3
"""Seconds in which the first delivery comes after one that cannot be it."""

ACK_EVERY: Final = 64
"""Messages that one ack counts for at most, while more are on their way."""


class Broken(BusError):
    """A session cannot go on; the next one begins with what was not acknowledged."""


class Outgoing(NamedTuple):
    """A message as it is to be stored on this side."""

    subject: str
    data: bytes
    block: bytes


class Source(NamedTuple):
    """What is moved, seen from this side."""

    stream: str
    consumer: str
    config: dict[str, Any] | None
    """Of the consumer, if it is for us to make."""
    ack_all: bool
    """An ack counts for all messages before it."""


class Route(NamedTuple):
    """What is moved, and what becomes of it on this side."""

    source: Source
    convert: Callable[[Inbound, int], Outgoing]
    """What to store of a message and its sequence over there. Raises ``FleetError`` or
    ``ValueError`` for what cannot be read, which is counted and left behind."""
    instead: Callable[[Inbound, Exception], Outgoing | None] = lambda _, __: None
    """What to store of a message that is left behind, because somebody waits for its end."""
    before: Callable[[Inbound], Awaitable[None]] | None = None
    """Awaited before a message that names a payload is moved."""


@dataclass(slots=True)
class Tally:
    """What the sessions of one pump have done so far."""

    moved: int = 0
    refused: int = 0
    """Results of which there was one already."""
    unreadable: int = 0
    heard: float = 0.0
    """When something came last, on the monotonic clock."""


class _Stored(Expected):
    """The answer of this side's broker to one message."""

    __slots__ = ("ack", "done", "session")

    def __init__(self, session: Session, ack: str) -> None:
        self.session = session
        self.ack = ack
        self.done = False

    def on_reply(self, message: Inbound) -> None:
        self.session.on_stored(self, message)

    def on_lost(self) -> None:
        self.session.fail(Broken("the broker on this side did not answer"))


class Session:
    """Orders, publishes in order, acknowledges.

    Args:
        api: begins the API's subjects on the other side.
        inbox: where deliveries come.
    """

    def __init__(self, bus: Bus, api: str, inbox: str, route: Route, tally: Tally) -> None:
        self.over = False
        """Set by the owner: nothing is moved any more, whoever swallows the cancellation."""
        self._bus = bus
        self._api = api
        self._inbox = inbox
        self._route = route
        self._source = route.source
        self._tally = tally
        self._asked = 0
        """Messages on order."""
        self._until = 0.0
        """When the last order ends."""
        self._expected = 1
        """Number of the next delivery since the rewind."""
        self._came: deque[Inbound] = deque()
        self._news = asyncio.Event()
        self._flying: deque[_Stored] = deque()
        self._unacked = 0
        """Messages that are stored and were not acknowledged yet, of those before ``_flying``."""
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
        while not self.over:
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
            while self._came and self._failure is None and not self.over:
                await self._move(self._came.popleft())

    def on_message(self, message: Inbound) -> None:
        """A delivery, or what the server over there says of an order."""
        if self.over:
            return
        self._tally.heard = time.monotonic()
        self._news.set()
        if message.block[8:9] == b" ":
            self._on_status(message)
            return
        if _number(message.reply) != self._expected:
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
        if message.status == "503":
            self.fail(Broken("no stream on this side takes it"))
            return
        try:
            ApiError.unless_refused(self._source.stream, message.data)
        except FleetError as error:
            if not isinstance(error, ApiError) or error.code != ApiError.WRONG_LAST_SEQUENCE:
                self.fail(Broken(f"refused on this side: {error}"))
                return
            self._tally.refused += 1
        else:
            self._tally.moved += 1
        self._settle(one)

    # the inside

    def _miss(self, expected: int) -> None:
        if self._expected == expected:
            self.fail(Broken("a delivery is missing, or went to another coordinator"))

    def _order(self) -> None:
        now = time.monotonic()
        room = WINDOW - self._asked - len(self._came) - len(self._flying)
        stands = self._asked and self._until > now
        if room <= 0 or (stands and room < WINDOW // 2):
            return
        self._bus.send(
            f"{self._api}.CONSUMER.MSG.NEXT.{self._source.stream}.{self._source.consumer}",
            codec.encode({"batch": room, "expires": int(EXPIRES * SECOND)}),
            self._inbox,
        )
        self._asked += room
        self._until = now + EXPIRES

    def _on_status(self, message: Inbound) -> None:
        if message.status not in ("404", "408"):
            self.fail(LinkDown(self._api) if message.status == "503" else _odd(message))
            return
        left = message.headers.get("Nats-Pending-Messages", "0")
        self._asked = max(0, self._asked - int(left)) if left.isdecimal() else 0
        if not self._asked:
            self._until = 0.0

    async def _move(self, message: Inbound) -> None:
        one = _Stored(self, message.reply)
        self._flying.append(one)
        try:
            out = self._route.convert(message, _sequence(message.reply))
        except (FleetError, ValueError) as problem:
            self._leave(one, message, problem)
            return
        if self._route.before is not None and b"\r\nFleet-Payload:" in message.block:
            await self._route.before(message)
            if self.over:
                return
        try:
            self._publish(one, out)
        except MessageTooBig as problem:
            self._leave(one, message, problem)

    def _publish(self, one: _Stored, out: Outgoing) -> None:
        reply = self._bus.expect(one)
        try:
            self._bus.send(out.subject, out.data, reply, out.block)
        except BusError:
            self._bus.forget(reply)
            raise

    def _leave(self, one: _Stored, message: Inbound, problem: Exception) -> None:
        """It can never be stored here, and must not hold up the others."""
        self._tally.unreadable += 1
        self._bus.drop(message.subject, problem)
        out = self._route.instead(message, problem)
        if out is None:
            self._settle(one)
        else:
            self._publish(one, out)

    def _settle(self, one: _Stored) -> None:
        one.done = True
        flying, all_before = self._flying, self._source.ack_all
        if not all_before:
            self._bus.send(one.ack, b"+ACK")
        last = None
        while flying and flying[0].done:
            last = flying.popleft()
            self._unacked += 1
        if last is not None:
            if all_before and (not flying or self._unacked >= ACK_EVERY):
                # An ack that is left out is made good by a later one, or costs a duplicate.
                self._bus.send(last.ack, b"+ACK")
                self._unacked = 0
            self._news.set()


def _odd(message: Inbound) -> Broken:
    return Broken(f"the server over there says {message.block[9:80].decode('utf-8', 'replace')!r}")


def _tokens(ack: str) -> list[str]:
    tokens = ack.split(".")
    # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>.<number>.…
    return tokens[4:] if len(tokens) == 9 else tokens[6:]


def _number(ack: str) -> int:
    tokens = _tokens(ack)
    return int(tokens[2]) if len(tokens) > 2 and tokens[2].isdecimal() else 0


def _sequence(ack: str) -> int:
    tokens = _tokens(ack)
    return int(tokens[1]) if len(tokens) > 1 and tokens[1].isdecimal() else 0
