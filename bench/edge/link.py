"""The bad link of one device: everything that it says and hears passes here."""

from __future__ import annotations

import asyncio
import socket
from random import Random
from typing import Any

from bench.edge.pipe import Pipe
from bench.edge.profiles import Profile


class Link:
    """Connects one device, as well as its profile allows.

    Args:
        draw: where all chance comes from.
    """

    def __init__(self, profile: Profile, draw: Random) -> None:
        self.profile = profile
        self.draw = draw
        self.sent = 0
        """Bytes of the device, without those of TCP and IP."""
        self.received = 0
        self.packets = 0
        self.connections = 0
        self.resets = 0
        self.partitions = 0
        self.half_open = 0
        self.record: list[tuple[float, bool, bytes]] | None = None
        """If it is a list: all that passes, with its time and whether the device said it."""
        self._flows = asyncio.Event()
        self._flows.set()
        self._pipes: set[Pipe] = set()

    @property
    def flows(self) -> bool:
        """False in a partition."""
        return self._flows.is_set()

    async def connect(self, host: str, number: int, tls: Any) -> Any:
        """Streams to a server, as ``edge.port.connect`` gives them.

        Raises:
            OSError: nobody listens there.
        """
        # The handshake: nothing comes back in a partition.
        await self._flows.wait()
        await asyncio.sleep(2 * self.delay())
        await self._flows.wait()
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        # A socket is the transport's to close from when that has it: twice would hit another.
        bare = {ours, theirs}
        pipe = Pipe(self)
        try:
            # In this order: the server speaks first, and there must be somebody to hear it.
            await loop.create_unix_connection(lambda: pipe.near, sock=theirs)
            bare.discard(theirs)
            await loop.create_connection(lambda: pipe.far, host, number)
            self._pipes.add(pipe)
            bare.discard(ours)
            streams = await asyncio.open_unix_connection(
                sock=ours, ssl=tls, server_hostname=host if tls else None
            )
        except BaseException:
            pipe.close()
            for one in bare:
                one.close()
            raise
        self.connections += 1
        return streams

    def delay(self) -> float:
        """Seconds that a packet takes one way."""
        profile, draw = self.profile, self.draw
        took = profile.latency + draw.uniform(-1, 1) * profile.jitter
        if profile.loss and draw.random() < profile.loss:
            took += draw.uniform(*profile.stall)
        return max(0.0, took)

    def reset(self) -> None:
        """Both ends hear that the connection is gone; what was under way is lost."""
        self.resets += 1
        for pipe in list(self._pipes):
            if not pipe.orphaned:
                pipe.close()

    def cut(self) -> None:
        """Nothing passes until ``heal``; it is not lost as long as the connection lives."""
        self.partitions += 1
        self._flows.clear()
        if self.draw.random() < self.profile.half_open:
            self.half_open += 1
            for pipe in list(self._pipes):
                if not pipe.orphaned:
                    pipe.forget(self.draw.choice(("nobody", "server", "device")))

    def heal(self) -> None:
        """Packets pass again."""
        self._flows.set()
        for pipe in list(self._pipes):
            pipe.resume()

    def power_cut(self) -> None:
        """The device is gone, and says no goodbye; the server's end stays open."""
        for pipe in list(self._pipes):
            if not pipe.orphaned:
                pipe.forget("device")

    def close(self) -> None:
        """Nothing is open any more."""
        for pipe in list(self._pipes):
            pipe.close()

    def ended(self, pipe: Pipe) -> None:
        """Both ends of ``pipe`` are closed."""
        self._pipes.discard(pipe)
