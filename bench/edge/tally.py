"""What devices count; sums over devices and over processes."""

from __future__ import annotations

from typing import Self

import msgspec


class Tally(msgspec.Struct):
    """All are counts."""

    devices: int = 0
    joined: int = 0
    settled: int = 0
    """Joined, and nothing is left to be sent."""
    spooled: int = 0
    """Records that are kept now."""
    taken: int = 0
    """Readings."""
    carried: int = 0
    """Readings that were in memory only when the power went: they may be lost."""
    dropped: int = 0
    """Given up for want of room, as the agent says."""
    connections: int = 0
    boots: int = 0
    """That came as far as a connection."""
    reboots: int = 0
    resets: int = 0
    partitions: int = 0
    half_open: int = 0
    sent: int = 0
    received: int = 0
    packets: int = 0
    refused: int = 0
    """Results that the broker had already."""
    lapsed: int = 0
    """Tasks not begun because others had them by then."""
    garbage: int = 0
    """Messages that could not be read."""
    stopped: int = 0
    """Agents that gave way to another process: none should, there are no others."""
    errors: int = 0
    """Logged as such."""

    def copy(self) -> Self:
        """Another one alike."""
        return msgspec.structs.replace(self)

    def add(self, other: Tally) -> None:
        """Count ``other`` in."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Report(msgspec.Struct):
    """What a process answers."""

    tally: Tally
    rss: float = 0.0
    """MB of the process now."""
    bare: float = 0.0
    """The same before the first device was made."""
    late: float = 0.0
    """Seconds by which a timer was late at worst: more than a little spoils what is measured."""
    problems: dict[str, int] = {}
    """What was logged most often."""


class Ended(msgspec.Struct):
    """What a process tells at the end."""

    report: Report
    taken: dict[str, int]
    """Readings by device."""
    runs: dict[str, int]
    """Handlers that were started, by task, if more than one was."""
    by_boot: dict[str, int]
    """Of these, those that were started twice within one boot of one device."""
    leaked: list[str]
    """Tasks of the loop that should have ended with their devices."""
