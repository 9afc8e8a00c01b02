"""What links and devices of a kind are like, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from bench.harness.errors import BenchError

Span = tuple[float, float]
"""The least and the greatest, in seconds; what is between is equally likely."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of link, and of the devices behind it. Times are in seconds; what is said to come
    every so often comes at random times with that mean, and 0 is never."""

    name: str
    sentence: str
    latency: float
    """One way."""
    jitter: float
    """At most so much more or less, drawn for each packet; none overtakes another."""
    up: float
    """Bytes a second from the device."""
    down: float
    loss: float
    """Share of packets that are lost: everything behind one waits until it is sent again."""
    stall: Span
    """How long that takes."""
    reset_every: float
    """Between two at which the connection is reset, and both ends hear of it."""
    partition_every: float
    """Between two at which nothing passes for a while."""
    partition: Span
    half_open: float
    """Share of partitions after which the connection is gone for at least one end that is not
    told: a NAT has forgotten it."""
    reboot_every: float
    """Between two losses of power of one device. The server is never told."""
    off: Span
    """For how long."""
    skewed: float
    """Share of devices whose clock is wrong by up to a day."""
    clockless: float
    """Share of devices that begin at 1970 with every boot."""
    settings: str
    """Which of ``edge.settings.PROFILES`` the devices have."""


PROFILES: Final = (
    Profile(
        name="lan",
        sentence="A cable: no loss, hardly a delay; a device is unplugged now and then.",
        latency=0.0003,
        jitter=0.0002,
        up=12_500_000,
        down=12_500_000,
        loss=0.0,
        stall=(0.2, 0.4),
        reset_every=0,
        partition_every=0,
        partition=(1, 5),
        half_open=0.0,
        reboot_every=600,
        off=(1, 5),
        skewed=0.1,
        clockless=0.1,
        settings="lan",
    ),
    Profile(
        name="wan",
        sentence="A good line to another continent: 80 ms both ways, a short cut twice an hour.",
        latency=0.04,
        jitter=0.01,
        up=1_250_000,
        down=5_000_000,
        loss=0.001,
        stall=(0.2, 0.6),
        reset_every=3600,
        partition_every=1800,
        partition=(5, 30),
        half_open=0.2,
        reboot_every=1200,
        off=(2, 10),
        skewed=0.1,
        clockless=0.1,
        settings="wan",
    ),
    Profile(
        name="flaky-3g",
        sentence="A vehicle on 3G: slow, lossy, reset every other minute, away for up to 90 s.",
        latency=0.15,
        jitter=0.1,
        up=48_000,
        down=128_000,
        loss=0.02,
        stall=(0.3, 3),
        reset_every=120,
        partition_every=150,
        partition=(2, 90),
        half_open=0.4,
        reboot_every=240,
        off=(1, 20),
        skewed=0.2,
        clockless=0.2,
        settings="wan",
    ),
    Profile(
        name="nb-iot",
        sentence="A meter in a cellar: an answer takes seconds, and a picture most of a minute.",
        latency=1.2,
        jitter=0.6,
        up=2_500,
        down=3_000,
        loss=0.03,
        stall=(2, 8),
        reset_every=600,
        partition_every=300,
        partition=(10, 120),
        half_open=0.5,
        reboot_every=900,
        off=(5, 30),
        skewed=0.1,
        clockless=0.6,
        settings="edge",
    ),
    Profile(
        name="satellite",
        sentence="A ship under a geostationary satellite: 560 ms both ways, shadowed at times.",
        latency=0.28,
        jitter=0.03,
        up=64_000,
        down=512_000,
        loss=0.01,
        stall=(0.6, 2),
        reset_every=900,
        partition_every=240,
        partition=(3, 45),
        half_open=0.2,
        reboot_every=1200,
        off=(5, 20),
        skewed=0.1,
        clockless=0.1,
        settings="wan",
    ),
)


def profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        BenchError: there is none.
    """
    for one in PROFILES:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in PROFILES)
    raise BenchError(f"there is no profile {name!r}; known are {known}")


def hurried(slow: Profile, factor: float) -> Profile:
    """The same life in a ``factor``-th of the time. Only bandwidth and shares stay."""

    def less(span: Span) -> Span:
        return span[0] / factor, span[1] / factor

    return replace(
        slow,
        latency=slow.latency / factor,
        jitter=slow.jitter / factor,
        stall=less(slow.stall),
        reset_every=slow.reset_every / factor,
        partition_every=slow.partition_every / factor,
        partition=less(slow.partition),
        reboot_every=slow.reboot_every / factor,
        off=less(slow.off),
    )
