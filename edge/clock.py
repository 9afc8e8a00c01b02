"""The time, by the broker's clock: a device may have none, or a wrong one."""

from edge import port

DAYS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
"""Before each month of a year that is no leap year."""
SLOW = 5000
"""Milliseconds: an answer that took longer says too little about now, unless it is quicker than
the one that is gone by,"""
SLOWEST = 20_000
"""and one that took longer than this even to a device that knows nothing yet. Half of it is what
the time may be wrong by."""


class Clock:
    """Tells the time. ``set`` is false until the broker has told it."""

    def __init__(self) -> None:
        self.set = False
        self._ahead = 0.0
        """Of the broker over our ticks, in milliseconds."""
        self._slowest = SLOWEST

    def now(self) -> int:
        """Unix time in milliseconds."""
        return int(port.ticks() + self._ahead) if self.set else port.unix_ms()

    def heard(self, stamp: str, asked: float) -> None:
        """The broker stamped a message with ``stamp`` (RFC 3339) after ``asked`` (ticks)."""
        now = port.ticks()
        at = unix(stamp)
        took = int(now - asked)
        if at and 0 <= took <= self._slowest:
            self._ahead = at + took // 2 - now
            self._slowest = max(SLOW, took)
            self.set = True


def unix(stamp: str) -> int:
    """Unix milliseconds of an RFC 3339 time in UTC; 0 if it is none."""
    # Each digit becomes 0, so that there is one shape to compare with.
    shape = "".join(["0" if one in "0123456789" else one for one in stamp])
    if shape[:19] != "0000-00-00T00:00:00" or shape[-1:] != "Z":
        return 0
    fraction = shape[19:-1]
    if fraction and (len(fraction) < 2 or fraction != "." + "0" * (len(fraction) - 1)):
        return 0
    year, month, day = int(stamp[:4]), int(stamp[5:7]), int(stamp[8:10])
    hour, minute, second = int(stamp[11:13]), int(stamp[14:16]), int(stamp[17:19])
    if not 1 <= month <= 12 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        return 0
    leaps = year - (month < 3)
    days = (year - 1970) * 365 + leaps // 4 - leaps // 100 + leaps // 400 - 477
    days += DAYS[month - 1] + day - 1
    ms = int((stamp[20:-1] + "000")[:3])
    return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + ms
