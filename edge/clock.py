"""The time, by the broker's clock: a device may have none, or a wrong one."""

from edge import port

DAYS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
"""Before each month of a year that is no leap year."""
SLOW = 5000
"""Milliseconds: an answer that took longer says too little about now."""


class Clock:
    """Tells the time. ``set`` is false until the broker has told it."""

    def __init__(self) -> None:
        self.set = False
        self._ahead = 0.0
        """Of the broker over our ticks, in milliseconds."""

    def now(self) -> int:
        """Unix time in milliseconds."""
        return int(port.ticks() + self._ahead) if self.set else port.unix_ms()

    def heard(self, stamp: str, asked: float) -> None:
        """The broker stamped a message with ``stamp`` (RFC 3339) after ``asked`` (ticks)."""
        now = port.ticks()
        at = unix(stamp)
        if at and 0 <= now - asked <= SLOW:
            self._ahead = at + int(now - asked) // 2 - now
            self.set = True


def unix(stamp: str) -> int:
    """Unix milliseconds of an RFC 3339 time in UTC; 0 if it is none."""
    parts = stamp[:19].replace("T", "-").replace(":", "-").split("-")
    if len(parts) != 6 or not all(one.isdigit() for one in parts) or stamp[-1:] != "Z":
        return 0
    year, month, day, hour, minute, second = [int(one) for one in parts]
    if not 1 <= month <= 12:
        return 0
    leaps = year - (month < 3)
    days = (year - 1970) * 365 + leaps // 4 - leaps // 100 + leaps // 400 - 477
    days += DAYS[month - 1] + day - 1
    ms = (stamp[20:23] + "000")[:3] if stamp[19:20] == "." else "0"
    ms = ms.replace("Z", "0")
    return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + int(ms)
