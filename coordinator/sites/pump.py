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
from typing import Final

from bus.backoff import full_jitter
from bus.connection import ApiError, Bus
from bus.errors import Disconnected, FleetError
from bus.transport import Inbound
from coordinator.sites.far import Far, LinkDown
from coordinator.sites.session import Broken, Route, Session, Tally

log = logging.getLogger("fleetbus.sites")

RETRY: Final = 1.0
"""Most seconds before a session that broke is followed by the next."""

STUBBORN: Final = 30.0
"""Likewise where something on this side is in the way, such as a full bucket for payloads: each
try may bring a big payload across the link again."""


def longest(problem: BaseException) -> float:
    """Most seconds to wait after ``problem``. Pure."""
    passing = isinstance(problem, LinkDown | Disconnected | Broken | ApiError | TimeoutError)
    return RETRY if passing else STUBBORN


class Pump:
    """One stream's way across the link.

    Args:
        far: the other side.
        inbox: begins the reply subjects that may cross the link.
    """

    def __init__(self, bus: Bus, far: Far, inbox: str, route: Route) -> None:
        self.tally = Tally()
        self.problem = ""
        """Why the last session broke; empty while one goes on."""
        self._bus = bus
        self._far = far
        self._inbox = f"{inbox}.{os.urandom(6).hex()}"
        self._route = route
        self._session: Session | None = None
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
            moved = self.tally.moved
            problem = await self._one()
            if problem is None:
                continue  # kicked
            self._tell(problem)
            tries = 0 if self.tally.moved > moved else tries + 1
            with contextlib.suppress(TimeoutError):
                most = longest(problem)
                async with asyncio.timeout(0.02 + full_jitter(tries, 0.1, most, self._rng)):
                    await self._kicked.wait()

    async def _one(self) -> BaseException | None:
        """One session; what broke it, or None if it was ended by a kick."""
        self._kicked.clear()
        session = Session(self._bus, self._far.api, self._inbox, self._route, self.tally)
        work = asyncio.create_task(self._work(session))
        kicked = asyncio.create_task(self._kicked.wait())
        try:
            await asyncio.wait((work, kicked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # In Python 3.11 nats-py's object store may swallow the cancellation.
            session.over = True
            self._session = None
            for task in (work, kicked):
                task.cancel()
            await asyncio.gather(work, kicked, return_exceptions=True)
        return None if work.cancelled() else work.exception()

    def _tell(self, problem: BaseException) -> None:
        text = str(problem) or type(problem).__name__
        if not isinstance(problem, FleetError | TimeoutError):
            # A bug, and no reason to leave what is stored over there for ever.
            log.error("moving %s: %s", self._route.source.stream, text, exc_info=problem)
        elif text != self.problem:
            # A link that is down is told of by whoever looks after it.
            level = logging.DEBUG if isinstance(problem, LinkDown) else logging.INFO
            log.log(level, "moving %s: %s", self._route.source.stream, text)
        self.problem = text

    async def _work(self, session: Session) -> None:
        if not self._bus.connected:
            raise Disconnected("this side's server is away")
        # Before the rewind: orders that stand already are served at once.
        self._session = session
        await self._rewind()
        self.problem = ""
        await session.work()

    async def _rewind(self) -> None:
        """Have the consumer begin again behind what was acknowledged last."""
        source = self._route.source
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
