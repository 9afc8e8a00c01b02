"""What a scenario declares, and the list of all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal

from bench.harness.errors import BenchError

if TYPE_CHECKING:
    from bench.harness.session import Session

NAMES: Final = (
    "dispatch",
    "call",
    "pubsub",
    "routing",
    "broadcast",
    "scale",
    "config",
    "failover",
    "start",
    "peers",
    "edge-idle",
    "edge-start",
    "edge-wire",
    "edge-spool",
    "edge-micropython",
    "edge-site",
    "edge-flaky",
    "soak",
)
"""In the order in which they run and are reported; ``bench.scenarios.<name>`` has each, with ``_``
where the name has ``-``."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of one metric over one parameter, a line or a group of bars for each side."""

    name: str
    """Its file's name, without the ending."""
    title: str
    metric: str
    x: str
    """The parameter on the x axis."""
    where: dict[str, str | int | float] | None = None
    """Only figures with these parameters."""
    kind: Literal["lines", "bars"] = "lines"
    sides: tuple[str, ...] = ()
    """These, in this order; empty for all that there are."""
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A picture of the latencies of one circumstance, from the median to the slowest."""

    name: str
    title: str
    where: dict[str, str | int | float] | None = None
    sides: tuple[str, ...] = ()
    log_y: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """One subject to measure."""

    name: str
    summary: str
    """One sentence for the list and above the report's table."""
    run: Callable[[Session], Awaitable[None]]
    seconds: float
    """About what a full run with three rounds takes on two cores."""
    quick_seconds: float
    """About what a quick one takes."""
    plots: Sequence[Plot | Percentiles] = ()
    by_default: bool = True
    """False: only when it is named."""


def scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        BenchError: there is none.
    """
    if name not in NAMES:
        raise BenchError(f"there is no scenario {name!r}; known are {', '.join(NAMES)}")
    found: Scenario = import_module(f"bench.scenarios.{name.replace('-', '_')}").SCENARIO
    return found
