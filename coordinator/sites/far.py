"""Asks the JetStream of the other side of a link.

``Bus.request`` would take an inbox that may not cross it: answers come on subjects that name
the site, which is all that the site's user may get.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from nats.aio.subscription import Subscription

from bus import codec
from bus.connection import ApiError, Bus
from bus.errors import BusError
from bus.store import MULTI_LAST, TooManySubjects
from bus.transport import Inbound

PATIENCE: Final = 5.0
"""Seconds for one answer across a link."""

MOST: Final = 64 * 1024 * 1024
"""Bytes of all answers to one question."""


class LinkDown(BusError):
    """Nobody answers on the other side of a link."""

    def __init__(self, api: str) -> None:
        self.api = api
        super().__init__(f"nobody answers on {api}: the link is down, or the other server is")


class TooMuch(BusError):
    """An answer is larger than anything that was asked for."""


class Far:
    """The other side's JetStream.

    Args:
        bus: a connection on this side.
        api: begins the API's subjects, for example ``$JS.hub.API``.
        inbox: begins the reply subjects, which may cross the link.
    """

    def __init__(self, bus: Bus, api: str, inbox: str) -> None:
        self.api = api
        self._bus = bus
        self._inbox = f"{inbox}.{os.urandom(6).hex()}"
        self._number = 0
        self._handlers: dict[str, asyncio.Queue[Inbound]] = {}
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Listen for answers."""
        self._subscription = await self._bus.listen(f"{self._inbox}.*", self._on_answer)

    async def stop(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            await self._bus.unlisten(self._subscription)

    async def ask(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One question to the API.

        Raises:
            LinkDown: nobody is there.
            ApiError: it was refused.
            TimeoutError, Disconnected: no answer.
        """
        data = b"" if body is None else codec.encode(body)
        message = await self.request(f"{self.api}.{verb}", data)
        return ApiError.unless_refused(verb, message.data)

    async def request(self, subject: str, data: bytes = b"", timeout: float = PATIENCE) -> Inbound:
        """One question, one answer.

        Raises:
            LinkDown, TimeoutError, Disconnected: as for ``ask``.
        """
        found = await self.collect(subject, data, lambda _: True, timeout)
        return found[0]

    async def collect(
        self,
        subject: str,
        data: bytes,
        is_last: Callable[[Inbound], bool],
        timeout: float = PATIENCE,
        most: int = MOST,
    ) -> list[Inbound]:
        """One question, answers until ``is_last(answer)``; each within ``timeout`` seconds.

        Raises:
            TooMuch: they have more than ``most`` bytes together.
            LinkDown, TimeoutError, Disconnected: as for ``ask``.
        """
        self._number += 1
        reply = f"{self._inbox}.{self._number}"
        queue: asyncio.Queue[Inbound] = asyncio.Queue()
        self._handlers[reply] = queue
        found: list[Inbound] = []
        size = 0
        try:
            self._bus.send(subject, data, reply)
            while True:
                async with asyncio.timeout(timeout):
                    message = await queue.get()
                if message.status == "503":
                    raise LinkDown(subject)
                found.append(message)
                size += len(message.data)
                if size > most:
                    raise TooMuch(f"more than {most} bytes came in answer to {subject}")
                if is_last(message):
                    return found
        except TimeoutError:
            raise TimeoutError(f"{subject} was not answered within {timeout:g} s") from None
        finally:
            del self._handlers[reply]

    async def lasts(self, stream: str, subjects: list[str]) -> list[Inbound]:
        """As ``store.lasts``, of a stream of the other side.

        Raises:
            TooManySubjects: more match than the server answers for.
            LinkDown, TimeoutError, Disconnected: as for ``ask``.
        """
        body = codec.encode({"multi_last": subjects, "batch": MULTI_LAST})
        found = await self.collect(
            f"{self.api}.DIRECT.GET.{stream}", body, lambda one: bool(one.status)
        )
        end = found.pop()
        if end.status == "413":
            raise TooManySubjects(f"stream {stream} has more than {MULTI_LAST} of {subjects}")
        if end.status not in ("204", "404"):
            raise BusError(f"direct get from {stream} was refused: {end.block[9:80]!r}")
        return found

    def _on_answer(self, message: Inbound) -> None:
        queue = self._handlers.get(message.subject)
        if queue is not None:
            queue.put_nowait(message)
