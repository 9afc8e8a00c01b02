"""What an agent asks of NATS: answers to requests, and what streams store."""

import asyncio
import json

from edge import port
from edge.errors import BusError
from edge.link import REQUEST_TIMEOUT, Link
from edge.wire import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from edge.link import Pairs

SILENT = 3
"""Unanswered questions on a silent link after which it is given up."""
HEADROOM = 4096
"""Bytes of a message that are left for its headers."""
WRONG_LAST_SEQUENCE = 10071
"""The server's code for a write that another came before."""


class Client(Link):
    """A connection by which questions are asked. ``run`` keeps it until ``close``.

    Args:
        settings: see ``edge.settings``.
        name: what the server shows for it.
    """

    def __init__(self, settings: "dict[str, Any]", name: str) -> None:
        super().__init__(settings, name)
        self._inbox = "_INBOX." + port.random_bytes(8).hex() + "."
        self._replies: dict[str, Callable[[Message | None], None]] = {}
        self._silent = 0
        """Questions in a row that were not answered while nothing was heard."""
        self._hanging_up: Any = None
        self.on_break.append(self._abandon)
        self.sub(self._inbox + "*", self._on_reply)

    async def request(
        self, subject: str, body: bytes = b"", head: "Pairs" = (), timeout: float = REQUEST_TIMEOUT
    ) -> Message:
        """The answer to a message.

        Raises:
            BusError: it could not be sent, the connection broke, or no answer came.
        """
        return (await self._ask(subject, body, head, timeout, 1))[0]

    async def store(self, subject: str, body: bytes = b"", head: "Pairs" = ()) -> "dict[str, Any]":
        """Publish into a stream; its acknowledgement, once it is stored.

        Raises:
            BusError: it was not, as far as is known; ``code`` says why if the server did.
        """
        message = await self.request(subject, body, head)
        answer = decode(message.body)
        if message.headers.get("Status") or not isinstance(answer, dict):
            raise BusError(subject + ": no stream takes it: is there such a fleet?")
        error = answer.get("error")
        if error:
            raise BusError(f"{subject}: {error.get('description')}", error.get("err_code", 0))
        return answer

    async def last(self, stream: str, subject: str) -> "Message | None":
        """The newest stored message on ``subject``; None if there is none.

        Raises:
            BusError: the server refused, or did not answer.
        """
        found = await self.request(f"$JS.API.DIRECT.GET.{stream}.{subject}")
        status = found.headers.get("Status", "")
        if status not in ("", "404"):
            raise BusError(f"{stream}: {status}: is there such a fleet?")
        return None if status else found

    async def stored(self, stream: str, question: "dict[str, Any]", most: int) -> "list[Message]":
        """Up to ``most`` messages that a direct get of a batch with ``question`` brings.

        Raises:
            BusError: the server refused, or did not answer.
        """
        subject = "$JS.API.DIRECT.GET." + stream
        asked = json.dumps(question).encode()
        found = await self._ask(subject, asked, (), REQUEST_TIMEOUT, most + 1)
        status = found.pop().headers.get("Status", "")
        if status not in ("204", "404"):
            code = int(status) if status.isdigit() else 0
            raise BusError(f"{subject}: {status or 'too many messages'}", code)
        return found

    async def _ask(
        self, subject: str, body: bytes, head: "Pairs", timeout: float, most: int
    ) -> "list[Message]":
        """The answers up to one that is a status, or up to so many.

        Raises:
            BusError: it could not be sent, the connection broke, or no answer came.
        """
        found: list[Any] = []
        there = asyncio.Event()

        def take(message: "Message | None") -> None:
            if not there.is_set():
                found.append(message)
                if message is None or message.headers.get("Status") or len(found) >= most:
                    there.set()

        reply = self.expect(take)
        asked = port.ticks()
        try:
            if not self.pub(subject, body, head, reply):
                raise BusError(subject + self._why())
            await port.within(there.wait(), timeout)
        except asyncio.TimeoutError:
            self._doubt(asked)
            raise BusError(f"{subject}: no answer in {timeout} s") from None
        finally:
            self.forget(reply)
        if found[-1] is None:
            raise BusError(subject + ": the connection broke")
        return found

    def expect(self, take: "Callable[[Message | None], None]") -> str:
        """A reply subject; ``take`` is called with what comes there, and with None if the
        connection breaks. To be ended with ``forget``."""
        self._next += 1
        reply = self._inbox + str(self._next)
        self._replies[reply] = take
        return reply

    def forget(self, reply: str) -> None:
        """Expect no more."""
        self._replies.pop(reply, None)

    def _abandon(self) -> None:
        """No answer comes any more."""
        replies, self._replies = self._replies, {}
        for take in replies.values():
            take(None)

    def _why(self) -> str:
        """Nothing can be sent."""
        return ": too much waits to be sent" if self.connected else ": not connected"

    def _on_reply(self, message: Message) -> None:
        take = self._replies.get(message.subject)
        if take is not None:
            take(message)

    def _doubt(self, asked: float) -> None:
        """A question since ``asked`` was not answered. If nothing else was heard either, and that
        several times, the link is dead, whatever the pings' long pause."""
        self._silent = self._silent + 1 if self._heard < asked else 0
        if self._silent >= SILENT:
            self._silent = 0
            port.log(port.WARNING, "nothing is answered: connecting anew")
            self._hanging_up = asyncio.create_task(self._shut())


def decode(data: "bytes | None") -> "Any":
    """What JSON says; None if it is none."""
    try:
        return json.loads(data or b"null")
    except (ValueError, UnicodeError, RuntimeError):
        return None
