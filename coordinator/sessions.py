"""Which agents of a large pool a session prefers, without looking at all of them.

Rendezvous hashing (``router.rank``) weighs every member for every session: exact, and in a pool
of a hundred thousand a tenth of a second. Here each member is one point on a circle, and a
session looks from several places of its own for the nearest points after them, which takes a
few microseconds at any size. When an agent comes or goes, only sessions that prefer it move.
The price is balance: the busiest has about half as much again as the average, which matters
little where a session goes elsewhere as soon as its agent has no room. (Appleton and O'Reilly,
"Multi-Probe Consistent Hashing", 2015.)
"""

from __future__ import annotations

import heapq
import struct
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

ALL: Final = 64
"""Pools of up to so many members rank them all."""

SPREAD: Final = 256
"""Between ``ALL`` and this many more, each session goes over to the circle at a size of its own:
were it one size for all, an agent that comes and goes just there would move every session."""

_PLACES: Final = struct.Struct(">8Q")
_MASK: Final = (1 << 64) - 1


def on_circle(session: str, members: int) -> bool:
    """Whether a session in a pool of so many members uses the circle. Pure."""
    if members <= ALL:
        return False
    return members > ALL + SPREAD or members > ALL + blake2b(session.encode()).digest()[0]


class Circle:
    """The members of one pool, each at its place."""

    def __init__(self, members: Iterable[str]) -> None:
        self._owners: dict[int, str] = {}
        for member in members:
            self._owners.setdefault(_point(member), member)
        # An array and not a list: searched at random, and one that fits into a processor's
        # cache is searched twice as fast.
        self._points = array("Q", sorted(self._owners))

    def add(self, member: str) -> None:
        """A member has come."""
        point = _point(member)
        # Two in one place in 2 ** 64: the second is found by no session, and loses nothing else.
        if self._owners.setdefault(point, member) is member:
            insort(self._points, point)

    def remove(self, member: str) -> None:
        """A member is gone."""
        point = _point(member)
        if self._owners.get(point) == member:
            del self._owners[point]
            del self._points[bisect_left(self._points, point)]

    def ranking(self, session: str) -> Iterator[str]:
        """Members by preference, the best first, each once."""
        points, owners = self._points, self._owners
        count = len(points)
        if not count:
            return
        places = _PLACES.unpack(blake2b(session.encode()).digest())
        best, least = 0, _MASK
        for place in places:
            index = bisect_left(points, place) % count
            distance = (points[index] - place) & _MASK
            if distance <= least:
                best, least = index, distance
        yield owners[points[best]]
        # Rarely asked: the first has no room.
        near: list[tuple[int, int, int]] = []
        for place in places:
            index = bisect_left(points, place) % count
            near.append(((points[index] - place) & _MASK, place, index))
        heapq.heapify(near)
        seen = {best}
        while len(seen) < count:
            _, place, index = near[0]
            after = (index + 1) % count
            heapq.heapreplace(near, ((points[after] - place) & _MASK, place, after))
            index = near[0][2]
            if index not in seen:
                seen.add(index)
                yield owners[points[index]]


def _point(member: str) -> int:
    return int.from_bytes(blake2b(member.encode(), digest_size=8).digest(), "big")
