"""What there is to see of sites: records, policies, agents, and what waits for the link."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bus import Bus, codec, sites, store
from bus.client import queue, registry
from bus.connection import ApiError
from bus.errors import DecodeError
from bus.sites import HUB
from bus.subjects import SITE, SPILL
from bus.transport import Inbound
from bus.wire.site import SitePolicy, SiteRecord, SiteReport
from fleetbus.site_link import shown

if TYPE_CHECKING:
    from rich.table import Table

LISTEN: Final = 2.5
"""Seconds to listen for reports, which say how far the hub is behind."""


@dataclass(slots=True)
class Row:
    """One site."""

    name: str
    record: SiteRecord | None = None
    policy: SitePolicy = field(default_factory=SitePolicy)
    agents: int = 0
    waiting: int = 0
    """Tasks at the hub that wait for the link: handed over, or offered by nobody else."""
    report: SiteReport | None = None

    @property
    def connected(self) -> bool:
        return self.record is not None and self.record.connected

    @property
    def since_ms(self) -> int:
        return self.record.since_ms if self.record is not None else 0

    def summary(self) -> dict[str, Any]:
        """Flat, for scripts."""
        return {
            "site": self.name,
            "here": HUB,
            "connected": self.connected,
            "since_ms": self.since_ms,
            "why": self.record.why if self.record is not None else "",
            "agents": self.agents,
            "tasks_for_it": self.waiting,
            "tasks_there": self.report.waiting if self.report is not None else None,
            "lag": self.report.lag if self.report is not None else None,
            "spill": self.policy.spill,
            "accepts": list(self.policy.accepts),
            "up": self.policy.up,
        }


async def values(bus: Bus, prefix: str) -> dict[str, Inbound]:
    """The newest values under ``prefix`` of the configuration bucket, by the rest of the key."""
    subjects = bus.subjects
    start = f"{subjects.config_keys}{prefix}"
    found: dict[str, Inbound] = {}
    async for message in store.scan(bus, subjects.config_stream, f"{start}*"):
        name = message.headers["Nats-Subject"][len(start) :]
        if "KV-Operation" in message.headers:
            found.pop(name, None)
        else:
            found[name] = message
    return found


async def records_of(bus: Bus) -> dict[str, SiteRecord]:
    """The records of all sites. To be asked at the hub: what a site has of its own link is none.

    Raises:
        DecodeError: one cannot be read.
    """
    return {
        name: codec.decode(SiteRecord, one.data, f"record of site {name}")
        for name, one in (await values(bus, SITE)).items()
        if name != HUB
    }


async def read(bus: Bus, *, listen: bool = True) -> list[Row]:
    """All sites, by name.

    Raises:
        TopologyMissing, TimeoutError, BusError: as for ``store.scan`` and ``Bus.api``.
    """
    subjects = bus.subjects
    rows = {name: Row(name, record) for name, record in (await records_of(bus)).items()}
    for name, stored in (await values(bus, SPILL)).items():
        policy = codec.decode(SitePolicy, stored.data, f"policy of site {name}")
        rows.setdefault(name, Row(name)).policy = policy
    offers: dict[str, set[str]] = {}
    async for card in registry.cards(bus):
        if card.relay:
            rows.setdefault(card.relay, Row(card.relay)).agents += 1
        for one in card.capabilities:
            offers.setdefault(one.name, set()).add(card.relay)
    for row in rows.values():
        consumer = f"{subjects.sites_stream}.{sites.down_consumer(row.name)}"
        try:
            info = await bus.api(f"CONSUMER.INFO.{consumer}")
        except ApiError as error:
            if error.code not in (ApiError.NO_CONSUMER, ApiError.NO_STREAM):
                raise
            continue  # it was never connected
        row.waiting = int(info["num_pending"]) + int(info["num_ack_pending"])
    if any(row.record is not None and not row.connected for row in rows.values()):
        await _count_waiting(bus, rows, offers)
    if listen and any(row.connected for row in rows.values()):
        await _hear(bus, rows)
    return [row for _, row in sorted(rows.items())]


async def _count_waiting(bus: Bus, rows: dict[str, Row], offers: dict[str, set[str]]) -> None:
    """What is in the hub's queue, is offered by one site only, and that one is away."""
    for lane in await queue.lanes(bus):
        relays = offers.get(lane.capability, set())
        if len(relays) == 1:
            row = rows.get(next(iter(relays)))
            if row is not None and row.record is not None and not row.connected:
                row.waiting += lane.waiting + lane.held


async def _hear(bus: Bus, rows: dict[str, Row]) -> None:
    missing = {row.name for row in rows.values() if row.connected}
    done = asyncio.Event()

    def on_report(message: Inbound) -> None:
        name = message.subject.split(".")[3]
        report = codec.decode(SiteReport, message.data, f"report of site {name[:64]}")
        if name not in rows or report.site != name:
            raise DecodeError("report", f"of {report.site[:64]!r} on the subject of {name[:64]!r}")
        rows[name].report = report
        missing.discard(name)
        if not missing:
            done.set()

    subscription = await bus.listen(bus.subjects.site_reports, on_report)
    try:
        async with asyncio.timeout(LISTEN):
            await done.wait()
    except TimeoutError:
        return  # what was not heard is shown as not known
    finally:
        await bus.unlisten(subscription)


def table(rows: list[Row]) -> Table:
    """For people."""
    from rich.text import Text

    from fleetbus import console

    made = console.table(
        "site", "state", "for", ">agents", ">for it", ">there", "lag", "spill", "from", "up"
    )
    for row in rows:
        state = "connected" if row.connected else "away" if row.record is not None else "awaited"
        lag = "-"
        if row.report is not None:
            lag = shown(row.report.lag)
        made.add_row(
            console.clean(row.name),
            Text(state, "green" if row.connected else "red"),
            console.age(row.since_ms),
            f"{row.agents:,}",
            f"{row.waiting:,}",
            f"{row.report.waiting:,}" if row.report is not None else "-",
            lag,
            row.policy.spill,
            console.clean(" ".join(row.policy.accepts) or "-"),
            row.policy.up,
        )
    return made
