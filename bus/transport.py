"""The one place that reaches into nats-py.

``Transport`` is nats-py's client with three things changed, each on a private method, which is
why the dependency is pinned to one minor version and ``tests/bus/test_transport.py`` holds it
to what is used here:

- Messages of a ``listen`` subscription are handed to a plain function as they are parsed,
  with no queue or task in between, and their headers stay bytes until somebody asks.
- ``send`` publishes without a coroutine: it appends to nats-py's own buffer, and all that one
  turn of the event loop sends leaves in one system call. nats-py's flusher is woken only where
  the system does not take it at once.
- Nothing that arrives can end the read loop. In nats-py a subject or header that is not
  UTF-8 raises out of the parser and leaves a connection that is open and deaf.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from bus.errors import Disconnected, MessageTooBig
from bus.parser import MessageParser
from bus.wire import headers as h

log = logging.getLogger("fleetbus.bus")

MAX_BUFFER: Final = 64 * 1024 * 1024
"""Bytes that may wait for a server that does not read, before ``send`` refuses."""

_NO_HEADERS: Final[h.Headers] = {}


class Inbound(msgspec.Struct, eq=False, gc=False):
    """A message as it arrived. ``block`` is its raw header block, empty if it has none."""

    subject: str
    reply: str
    data: bytes
    block: bytes
    _fields: h.Headers | None = None

    @property
    def headers(self) -> h.Headers:
        """The headers by name; parsed at the first use.

        Raises:
            DecodeError: the block is not a header block.
        """
        if self._fields is None:
            self._fields = h.decode(self.block) if self.block else _NO_HEADERS
        return self._fields

    @property
    def status(self) -> str:
        """The server's inline status, such as ``503``; empty on an ordinary message."""
        return self.block[9:12].decode("ascii", "replace") if self.block[8:9] == b" " else ""


Handler = Callable[[Inbound], None]


async def _never(_: object) -> None:
    """Stands in where nats-py wants a callback that ``listen`` replaces."""


class Transport(Client):
    """nats-py's client with a direct way in and out. Made by ``bus.connection.Bus`` only."""

    def __init__(self, on_drop: Callable[[str, Exception], None]) -> None:
        """``on_drop(subject, reason)`` is told of each message that could not be handled."""
        super().__init__()
        self.epoch = 0
        """Counts connections that broke: what is sent from now on goes to the next one, and
        what was sent before may have got lost."""
        self._ps = MessageParser(self)
        self._direct: dict[int, Handler] = {}
        self._on_drop = on_drop
        self._writing = False
        """What has been sent in this turn of the loop is written at its end."""

    async def listen(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Subscribe a plain function. It must not block and runs before the next message."""
        # The id is known before nats-py sends the subscription, so no message can slip
        # between the two and be given to the stand-in.
        sid = self._sid + 1
        self._direct[sid] = handler
        try:
            return await self.subscribe(subject, queue=queue, cb=_never)
        except BaseException:
            # The id may be given out again, to a subscription that is not ours.
            self._direct.pop(sid, None)
            raise

    async def unlisten(self, subscription: Subscription) -> None:
        """End a subscription made by ``listen``."""
        try:
            await subscription.unsubscribe()
        finally:
            self.forget(subscription)

    def forget(self, subscription: Subscription) -> None:
        """Drop what still arrives for a subscription that has ended."""
        self._direct.pop(subscription._id, None)

    def send(self, subject: str, data: bytes = b"", reply: str = "", block: bytes = b"") -> None:
        """Publish without waiting. ``subject`` and ``reply`` must be legal already.

        While the connection is down, messages wait in the buffer for the reconnect.

        Raises:
            Disconnected: the connection is closed for good, or the buffer is full.
            MessageTooBig: the server would close the connection over it.
        """
        if self.is_closed:
            raise Disconnected("the connection is closed")
        size = len(data)
        if size + len(block) > self._max_payload:
            raise MessageTooBig(subject, size + len(block), self._max_payload)
        if block:
            head = f"HPUB {subject} {reply} {len(block)} {len(block) + size}\r\n".encode()
            command = b"%b%b%b\r\n" % (head, block, data)
        else:
            command = b"%b%b\r\n" % (f"PUB {subject} {reply} {size}\r\n".encode(), data)
        waiting = self._pending_data_size + len(command)
        if waiting > (MAX_BUFFER if self.is_connected else self._max_pending_size):
            state = "does not read" if self.is_connected else "is not connected"
            raise Disconnected(
                f"the server {state} and {self._pending_data_size} bytes wait already"
            )
        self._pending.append(command)
        self._pending_data_size = waiting
        stats = self.stats
        stats["out_msgs"] += 1
        stats["out_bytes"] += size
        if not self._writing and self._flush_queue is not None:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._writing = False
        queue = self._flush_queue
        if not self._pending or queue is None:
            return
        writer = getattr(self._transport, "_io_writer", None)
        if self._status == Client.CONNECTED and writer is not None:
            transport = writer.transport
            if not transport.is_closing() and not transport.get_write_buffer_size():
                # The system takes it at once, as a rule: no need to wake the flusher for that.
                pending, self._pending, self._pending_data_size = self._pending, [], 0
                writer.writelines(pending)
                return
        if queue.empty():
            # The flusher waits until the system has taken it, and more can wait meanwhile.
            kick: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            kick.set_result(None)
            queue.put_nowait(kick)

    @property
    def begun(self) -> bool:
        """True once nats-py has begun to connect: before that it cannot be closed."""
        return self._flush_queue is not None

    @property
    def unsent(self) -> int:
        """Bytes that have been published and not yet handed to the operating system."""
        return self._pending_data_size

    def discard(self) -> int:
        """Forget what is unsent; how many bytes those were."""
        unsent, self._pending_data_size = self._pending_data_size, 0
        self._pending = []
        return unsent

    def deliver(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, block: bytes
    ) -> Awaitable[None] | None:
        """Hand over one message. Called by the parser; what is returned is to be awaited."""
        handler = self._direct.get(sid)
        if handler is None:
            return self._deliver_slowly(sid, subject, reply, data, block)
        stats = self.stats
        stats["in_msgs"] += 1
        stats["in_bytes"] += len(data)
        # No name of ours has bytes that are no text, but a stored task that has must be taken to
        # end it.
        name = subject.decode("utf-8", "replace")
        try:
            handler(Inbound(name, reply.decode(), data, block))
        except Exception as reason:
            # Whatever arrives, and whatever a handler makes of it, the read loop goes on.
            self._on_drop(name, reason)
        return None

    async def _deliver_slowly(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, block: bytes
    ) -> None:
        """By nats-py's own way, for its own subscriptions such as the object store's."""
        try:
            await self._process_msg(sid, subject, reply, data, block)
        except Exception as reason:
            self._on_drop(subject.decode("utf-8", "replace"), reason)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # nats-py writes its PING past the buffer: flush would not wait for what is in there.
        if self.is_connected and self._transport is not None:
            self._transport.writelines(self._pending)
            self._pending = []
            self._pending_data_size = 0
        await super()._send_ping(future)

    async def _process_pong(self) -> None:
        # A flush that was given up leaves its future here, which nats-py would set: the error
        # would end the read loop and leave a connection that is open and deaf.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_op_err(self, e: Exception) -> None:
        if not (self.is_closed or self.is_reconnecting):
            self.epoch += 1
        await super()._process_op_err(e)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # nats-py goes on without TLS where the server offers none, and sends the credentials.
        wanted = "tls" in self.options and not self.options.get("tls_handshake_first")
        if initial_connection and wanted and not info.get("tls_required"):
            raise nats_errors.Error("the server does not speak TLS, which was asked for")
        await super()._process_info(info, initial_connection)

    async def _process_err(self, err_msg: str) -> None:
        # nats-py closes the connection for good on most errors, such as an expired
        # credential or a full server. An agent must come back when it is mended.
        if "permissions violation" in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(nats_errors.Error(f"nats: {err_msg}"))
