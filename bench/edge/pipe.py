"""One connection through a bad link: what comes in at one end leaves late at the other."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, cast

if TYPE_CHECKING:
    from bench.edge.link import Link

ROOM: Final = 65_536
"""Bytes under way in one direction before the sender has to wait."""
AGAIN: Final = (0.2, 2.0)
"""Seconds after a partition until TCP tries again."""

Told = Literal["nobody", "server", "device"]
"""Which end hears that the connection is gone."""


class End(asyncio.Protocol):
    """One end: what comes from it goes into its lane."""

    def __init__(self, pipe: Pipe, near: bool) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._pipe = pipe
        self._near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # uvloop's transports are none of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)
        if self.closed:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._pipe.took(self._near, data)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self.closed = True
        self._pipe.lost(self._near)

    def abort(self) -> None:
        """Reset it."""
        self.closed = True
        if self.transport is not None:
            self.transport.abort()


class Lane:
    """One direction."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.free_at = 0.0
        """When the line has sent what it was given."""
        self.last_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.ending = False
        """The sender has closed: so will this end, once it has got everything."""


class Pipe:
    """Both directions of one connection."""

    def __init__(self, link: Link) -> None:
        self.near = End(self, True)
        """The device's."""
        self.far = End(self, False)
        """The server's."""
        self.orphaned = False
        """A NAT has forgotten it: what is sent into it vanishes."""
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._lanes = {True: Lane(link.profile.up), False: Lane(link.profile.down)}

    def took(self, near: bool, data: bytes) -> None:
        """``data`` came from the device (``near``) or from the server."""
        link = self._link
        if self.orphaned:
            return
        if near:
            link.sent += len(data)
        else:
            link.received += len(data)
        link.packets += 1 + len(data) // 1400
        now = self._loop.time()
        if link.record is not None:
            link.record.append((now, near, data))
        lane = self._lanes[near]
        lane.free_at = max(now, lane.free_at) + len(data) / lane.rate
        # None overtakes another: TCP puts them in order.
        lane.last_at = max(lane.last_at, lane.free_at + link.delay())
        lane.waiting.append((lane.last_at, data))
        lane.size += len(data)
        end = self.near if near else self.far
        if lane.size > ROOM and end.transport is not None and not end.closed:
            end.transport.pause_reading()
        self._plan(near)

    def lost(self, near: bool) -> None:
        """An end was closed."""
        if self.near.closed and self.far.closed:
            self.close()
        elif not self.orphaned:
            lane = self._lanes[near]
            lane.ending = True
            lane.last_at = max(lane.last_at, self._loop.time() + self._link.delay())
            self._plan(near)

    def forget(self, told: Told) -> None:
        """From now on everything vanishes."""
        self.orphaned = True
        for near, lane in self._lanes.items():
            lane.waiting.clear()
            lane.size = 0
            end = self.near if near else self.far
            if end.transport is not None and not end.closed:
                end.transport.resume_reading()
        if told == "device":
            self.near.abort()
        elif told == "server":
            self.far.abort()

    def resume(self) -> None:
        """A partition is over."""
        again = self._loop.time() + self._link.draw.uniform(*AGAIN)
        for near, lane in self._lanes.items():
            lane.waiting = deque((max(at, again), data) for at, data in lane.waiting)
            lane.last_at = max(lane.last_at, again) if lane.waiting else lane.last_at
            self._plan(near)

    def close(self) -> None:
        """Both ends are reset."""
        self.orphaned = True
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
                lane.timer = None
            lane.waiting.clear()
        self.near.abort()
        self.far.abort()
        self._link.ended(self)

    def _plan(self, near: bool) -> None:
        lane = self._lanes[near]
        if lane.timer is not None or self.orphaned or not self._link.flows:
            return
        if lane.waiting:
            lane.timer = self._loop.call_at(lane.waiting[0][0], self._pass, near)
        elif lane.ending:
            lane.timer = self._loop.call_at(lane.last_at, self._end, near)

    def _pass(self, near: bool) -> None:
        lane = self._lanes[near]
        lane.timer = None
        if self.orphaned or not self._link.flows:
            return
        source, sink = (self.near, self.far) if near else (self.far, self.near)
        now = self._loop.time()
        while lane.waiting and lane.waiting[0][0] <= now + 0.0005:
            _, data = lane.waiting.popleft()
            lane.size -= len(data)
            if sink.transport is not None and not sink.closed:
                sink.transport.write(data)
        if lane.size <= ROOM // 2 and source.transport is not None and not source.closed:
            source.transport.resume_reading()
        self._plan(near)

    def _end(self, near: bool) -> None:
        self._lanes[near].timer = None
        if self._link.flows:
            self.close()
