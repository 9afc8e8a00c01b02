"""Latencies in HDR histograms: fixed memory, three significant digits from 1 µs to an hour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bench.harness.errors import Missing

try:
    from hdrh.histogram import HdrHistogram
except ImportError as error:
    raise Missing("hdrhistogram", "pip install 'fleetbus[bench]'") from error

LOWEST: Final = 1
HIGHEST: Final = 3_600_000_000
DIGITS: Final = 3


class Latencies:
    """How long things took, to a thousandth. Times go in as seconds and come out as ms."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(LOWEST, HIGHEST, DIGITS)

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latencies:
        """All of ``seconds``, recorded."""
        made = cls()
        for one in seconds:
            made.record(one)
        return made

    @classmethod
    def decode(cls, text: str) -> Latencies:
        """What :meth:`encode` wrote."""
        made = cls()
        made._histogram.decode_and_add(text.encode())
        return made

    def encode(self) -> str:
        """In HdrHistogram's own format (V2, compressed, base64), which other tools read."""
        return str(self._histogram.encode(), "ascii")

    def record(self, seconds: float) -> None:
        """Costs 2 µs: record after a run, or where there is time. Longer than an hour counts
        as an hour."""
        self._histogram.record_value(min(HIGHEST, max(LOWEST, round(seconds * 1e6))))

    def add(self, other: Latencies) -> None:
        """Everything that ``other`` holds, too."""
        self._histogram.add(other._histogram)

    @property
    def count(self) -> int:
        return int(self._histogram.get_total_count())

    def percentile(self, share: float) -> float:
        """Milliseconds that ``share`` per cent did not exceed; 0 when nothing was recorded."""
        return float(self._histogram.get_value_at_percentile(share)) / 1000

    @property
    def maximum(self) -> float:
        """Milliseconds of the slowest."""
        return float(self._histogram.get_max_value()) / 1000
