"""Readings: which are worth sending, and when. Nothing here does I/O."""

from edge.names import dumps, token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Series:
    """What one function measures.

    Args:
        name: one token of a subject.
        every: seconds between two readings.
        unit: for people.
        deadband: a number that differs less from the last one that was kept is left out; so is
            any other value that is the same.
        min_interval: seconds after one that was kept in which others are left out.
        max_interval: seconds after which one is kept all the same; 0 for never.
        batch: readings that travel together. A batch leaves when the time is over in which
            it would be full if none were left out.

    Raises:
        ValueError: naming the series, and the rule.
    """

    def __init__(
        self,
        name: str,
        every: float,
        unit: str,
        deadband: float,
        min_interval: float,
        max_interval: float,
        batch: int,
    ) -> None:
        self.name = token("telemetry", name)
        if not 0.01 <= every <= 86_400 or not 1 <= batch <= 1000:
            raise ValueError(f"telemetry {name}: every is 0.01 to 86400 s, batch 1 to 1000")
        if not (deadband >= 0 and min_interval >= 0 and max_interval >= 0):
            raise ValueError(f"telemetry {name}: deadband and intervals are not negative")
        self.every = every
        self.unit = unit
        self.deadband = deadband
        self.min_interval = min_interval
        self.max_interval = max_interval
        self.batch = batch
        self.read: Callable[[], Any] = bool
        self.failure = ""
        """The last error of ``read``, so that it is logged once."""
        self._last: Any = None
        self._last_at = 0
        self._readings: list[tuple[int, Any]] = []

    def take(self, value: "Any", now: int) -> bool:
        """A reading at ``now`` (Unix milliseconds), None for none; whether the batch is to be
        sent.

        Raises:
            TypeError, ValueError: the value has no JSON form. Others are kept all the same.
        """
        if now < self._last_at:
            # The clock was set back: what was kept keeps its distance to what comes.
            back = self._last_at - now
            self._readings = [(at - back, one) for at, one in self._readings]
            self._last_at = now
        if value is not None and self._worth(value, now):
            dumps(value)
            self._last, self._last_at = value, now
            self._readings.append((now, value))
        if not self._readings:
            return False
        age = now - self._readings[0][0]
        return len(self._readings) >= self.batch or age >= 1000 * self.every * (self.batch - 1)

    def shift(self, ms: int) -> None:
        """The clock was put forward by so much, or back: it was wrong when they were taken."""
        if self._last_at:
            self._readings = [(at + ms, one) for at, one in self._readings]
            self._last_at += ms

    def batched(self) -> "dict[str, Any]":
        """The readings that were kept, as a message says them; empty if there are none."""
        found, self._readings = self._readings, []
        if not found:
            return {}
        first = found[0][0]
        said = {"series": self.name, "at_ms": first}
        said["readings"] = [[at - first, value] for at, value in found]
        if self.unit:
            said["unit"] = self.unit
        return said

    def _worth(self, value: "Any", now: int) -> bool:
        if not self._last_at:
            return True
        passed = now - self._last_at
        if self.max_interval and passed >= 1000 * self.max_interval:
            return True
        if passed < 1000 * self.min_interval:
            return False
        if not self.deadband:
            return True
        if isinstance(value, (int, float)) and isinstance(self._last, (int, float)):
            return abs(value - self._last) >= self.deadband
        return bool(value != self._last)
