"""Members sorted into tiers: filed, moved and dropped in constant time, found best tier first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

TIERS: Final = 32
"""How many there are."""


class Named(Protocol):
    """Whose id no other member has."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


class Tiers(Generic[T]):
    """Tier 0 is the best, ``TIERS - 1`` the worst."""

    __slots__ = ("_lists", "_places", "_used")

    def __init__(self) -> None:
        self._lists: dict[int, list[T]] = {}
        """Members of each tier that has any, in no order."""
        self._places: dict[str, int] = {}
        """Where a member stands in its list, times ``TIERS``, plus its tier: one number, because
        pools are large."""
        self._used = 0
        """A bit for each tier that has members."""

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        for tier in self.tiers():
            yield from tier

    def tiers(self) -> Iterator[list[T]]:
        """The members of each tier, the best first. Nothing may be filed meanwhile."""
        used = self._used
        while used:
            lowest = used & -used
            yield self._lists[lowest.bit_length() - 1]
            used ^= lowest

    def file(self, member: T, tier: int) -> None:
        """Put ``member`` into ``tier``, wherever it was before."""
        at = self._places.get(member.id)
        if at is not None:
            if at % TIERS == tier:
                return
            self.drop(member)
        there = self._lists.get(tier)
        if there is None:
            there = self._lists[tier] = []
            self._used |= 1 << tier
        self._places[member.id] = len(there) * TIERS + tier
        there.append(member)

    def drop(self, member: T) -> None:
        """Take ``member`` out, if it is there."""
        at = self._places.pop(member.id, None)
        if at is None:
            return
        place, tier = divmod(at, TIERS)
        there = self._lists[tier]
        last = there.pop()
        if last is not member:
            there[place] = last
            self._places[last.id] = at
        if not there:
            del self._lists[tier]
            self._used ^= 1 << tier
