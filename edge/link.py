"""One connection to NATS that comes back: what is heard, what is sent, and bounded buffers."""

import asyncio

from edge import port
from edge.errors import BusError
from edge.wire import Message, Parser, block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Handler = Callable[[Message], None]
    Pairs = Iterable[tuple[str, str]]

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt, handshakes included."""
REQUEST_TIMEOUT = 5.0
"""Seconds for an answer."""
TOO_LARGE = 10054
"""The server's code for a message that is larger than it takes."""
FAREWELL = 2.0
"""Seconds for what is to be sent before the connection is closed."""
CHUNK = 1024 if port.MICRO else 32768
"""Bytes that are read at a time."""
MOST_SERVERS = 8
"""Addresses that are remembered, those that servers name included."""


class Link:
    """One connection. ``run`` keeps it until ``close``.

    Args:
        settings: see ``edge.settings``.
        name: what the server shows for it.
    """

    def __init__(self, settings: "dict[str, Any]", name: str) -> None:
        self.settings = settings
        self.name = name
        self.connected = False
        self.up = asyncio.Event()
        """Set while it is connected."""
        self.generation = 0
        """How often it has connected."""
        self.max_payload = 1048576
        self.dropped = 0
        """Messages that could not be taken or read."""
        self.refused = ""
        """What the server said last time it refused something."""
        self.on_connect: list[Callable[[], None]] = []
        self.on_break: list[Callable[[], None]] = []
        self._servers: list[str] = [one.strip() for one in settings["url"].split(",")]
        self._subs: dict[int, tuple[str, Handler]] = {}
        self._next = 0
        self._out: list[bytes] = []
        self._size = 0
        self._dirty = asyncio.Event()
        self._sent = asyncio.Event()
        self._pongs = 0
        self._pings = 0
        self._ponged = asyncio.Event()
        self._heard: float = 0
        self._closed = False
        self._streams: Any = None

    # what is said and heard

    def sub(self, subject: str, handler: "Handler") -> int:
        """Listen from now on, over reconnects too. The handler must not raise what matters: it is
        counted and logged, and the connection lives on."""
        self._next += 1
        self._subs[self._next] = (subject, handler)
        if self.connected:
            self._write(f"SUB {subject} {self._next}\r\n".encode())
        return self._next

    def unsub(self, sid: int) -> None:
        """Listen no more."""
        del self._subs[sid]
        if self.connected:
            self._write(f"UNSUB {sid}\r\n".encode())

    def pub(self, subject: str, body: bytes = b"", head: "Pairs" = (), reply: str = "") -> bool:
        """Send; False if it was dropped, because there is no connection or no room to keep it.

        Raises:
            BusError: it is larger than the server takes.
        """
        made = block(head) if head else b""
        size = len(made) + len(body)
        if size > self.max_payload:
            text = f"{subject}: {size} bytes, and the server takes {self.max_payload}"
            raise BusError(text, TOO_LARGE)
        # One that is larger than the buffer goes alone: else it would never go.
        full = self._size and self._size + size > self.settings["buffer"]
        if not self.connected or full:
            return False
        where = f"{subject} {reply}" if reply else subject
        line = f"HPUB {where} {len(made)} {size}\r\n" if made else f"PUB {where} {size}\r\n"
        self._write(b"".join((line.encode(), made, body, b"\r\n")))
        return True

    async def flush(self, timeout: float = REQUEST_TIMEOUT) -> None:
        """Return when the server has read all that was sent.

        Raises:
            BusError: it has not.
        """
        if not self.connected:
            raise BusError("not connected")
        goal, generation = self._ping(), self.generation
        while self._pongs < goal:
            self._ponged.clear()
            try:
                await port.within(self._ponged.wait(), timeout)
            except asyncio.TimeoutError:
                raise BusError("the server does not answer") from None
            if not self.connected or generation != self.generation:
                raise BusError("the connection broke")

    async def drained(self) -> None:
        """Return when there is room to send, or no connection."""
        while self.connected and self._size > self.settings["buffer"] // 2:
            self._sent.clear()
            await self._sent.wait()

    # the connection

    async def run(self) -> None:
        """Connect, and connect again, until ``close``. What goes wrong is logged once."""
        tries = 0
        said: dict[str, str] = {}
        while not self._closed:
            server = self._servers[tries % len(self._servers)]
            generation = self.generation
            try:
                await self._session(server)
                problem = "the server closed the connection"
            except Exception as error:  # whatever it is, the agent has to come back
                problem = str(error) or type(error).__name__
            if self._closed:
                return
            if generation != self.generation:
                tries, said = 0, {}
            if said.get(server) != problem:
                # Without the password that may be in it.
                port.log(port.WARNING, f"{server.rpartition('@')[2]}: {problem}; trying again")
                said[server] = problem
            # Full jitter, applied after the cap: a herd must not come back together.
            cap = min(self.settings["reconnect_max"], 0.1 * 2 ** min(tries, 12))
            tries += 1
            await asyncio.sleep(port.uniform(0.0, cap))

    async def close(self) -> None:
        """Send what is left, and end."""
        if self.connected:
            try:
                await self.flush(FAREWELL)
            except BusError:
                pass  # there is nobody to tell any more
        self._closed = True
        await self._shut()

    async def _session(self, server: str) -> None:
        from edge import login

        parser = Parser(self.settings["largest"])
        early: list[Any] = []
        opened = login.enter(server, self.settings, self.name, parser, early)
        try:
            streams, info = await port.within(opened, CONNECT_TIMEOUT)
        except asyncio.TimeoutError:
            raise BusError(f"no connection in {CONNECT_TIMEOUT:g} s") from None
        port.unload("login")
        self._streams = streams
        tasks = []
        try:
            if self._closed:
                return
            self.max_payload = info["max_payload"]
            self._meet(server, info.get("connect_urls"))
            self._out, self._size = [], 0
            self._pings = self._pongs = 0
            self.connected = True
            self.up.set()
            self.generation += 1
            if self.generation > 1:
                # Who reads that it broke wants to know that it is over.
                port.log(port.WARNING, server.rpartition("@")[2] + ": connected again")
            for sid, (subject, _) in self._subs.items():
                self._write(f"SUB {subject} {sid}\r\n".encode())
            tasks = [asyncio.create_task(self._send(streams[1]))]
            tasks.append(asyncio.create_task(self._watch()))
            for one in self.on_connect:
                one()
            self._take(early)
            while True:
                data = await streams[0].read(CHUNK)
                if not data:
                    return
                self._heard = port.ticks()
                self._take(parser.feed(data))
        finally:
            self.connected = False
            self.up.clear()
            for task in tasks:
                task.cancel()
            await self._shut()
            self._ponged.set()
            self._sent.set()
            for one in self.on_break:
                one()

    def _meet(self, server: str, others: "Any") -> None:
        """Remember servers that ``server`` names. They are let in on as it is: with its scheme
        and its login."""
        scheme, found, rest = server.partition("://")
        login, at, _ = rest.rpartition("@")
        known = [one.rpartition("@")[2].rpartition("://")[2] for one in self._servers]
        for one in others if isinstance(others, list) else ():
            if isinstance(one, str) and one not in known and len(self._servers) < MOST_SERVERS:
                self._servers.append(scheme + found + login + at + one if found else one)
                known.append(one)

    def _take(self, ops: "list[Any]") -> None:
        for one in ops:
            if isinstance(one, Message):
                lost = one.body is None and not one.head
                self.dropped += lost
                # Who waits for an answer is to have one: that it cannot be read.
                if one.sid in self._subs and (one.reply or not lost):
                    try:
                        self._subs[one.sid][1](one)
                    except Exception as problem:  # whatever came, the connection lives on
                        self.dropped += 1
                        port.log(port.WARNING, f"{one.subject[:120]}: dropped: {problem}")
            elif one[0] == "PING":
                # A server that asks and does not read is not worth the memory.
                if self._size < self.settings["buffer"]:
                    self._write(b"PONG\r\n")
            elif one[0] == "PONG":
                self._pongs += 1
                self._ponged.set()
            elif one[0] == "-ERR":
                self.refused = one[1]
                port.log(port.WARNING, "the server says: " + one[1])

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        self._size += len(data)
        self._dirty.set()

    def _ping(self) -> int:
        self._pings += 1
        self._write(b"PING\r\n")
        return self._pings

    async def _send(self, writer: "Any") -> None:
        """All that was written in one turn of the loop leaves together."""
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                data, self._out = b"".join(self._out), []
                writer.write(data)
                await writer.drain()
                self._size -= len(data)
                self._sent.set()
        except Exception as problem:  # whatever it is, nothing would be sent any more
            port.log(port.WARNING, f"sending: {problem}")
            await self._shut()

    async def _watch(self) -> None:
        """Ask a silent server whether it is there, and hang up on one that is not."""
        pause = self.settings["ping"]
        self._heard = port.ticks()
        while True:
            await asyncio.sleep(pause)
            if port.ticks() - self._heard > 2500 * pause:
                port.log(port.WARNING, "the server is silent")
                await self._shut()
                return
            if port.ticks() - self._heard > 900 * pause:
                self._ping()

    async def _shut(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            self.connected = False
            self.up.clear()
            await port.hang_up(streams)
