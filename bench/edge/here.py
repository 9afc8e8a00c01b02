"""Which device the running code belongs to: all devices of a process share one ``edge.port``.

A device's tasks inherit its context, so that its clock, its link and its log are found there.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from bench.edge.disk import Disk
from edge import outbox, port, spool

if TYPE_CHECKING:
    from bench.edge.device import Device

HERE: ContextVar[Device] = ContextVar("bench_edge_device")


def settle_in() -> None:
    """Have ``edge.port`` ask the device for what differs between devices. For good: only in a
    process that does nothing else."""
    # mypy knows these as functions of the module; they are replaced as a test would.
    changed: dict[str, Any] = {
        "connect": _connect,
        "unix_ms": _unix_ms,
        "log": _log,
        "say": _say,
        "usage": dict,
    }
    for name, value in changed.items():
        if not hasattr(port, name):
            raise AttributeError(f"edge.port has no {name} any more: change bench/edge/here.py")
        setattr(port, name, value)
    places: dict[str, Any] = {"Files": _disk}
    for name, value in places.items():
        setattr(spool, name, value)
    sending: dict[str, Any] = {"send": _carried(outbox.Outbox.send)}
    for name, value in sending.items():
        setattr(outbox.Outbox, name, value)


def _disk() -> Disk:
    return HERE.get().disk


def _carried(send: Any) -> Any:
    """``Outbox.send``, with the device knowing what is in memory only."""

    async def carried(self: Any, subject: str, body: bytes) -> None:
        boot = HERE.get().boot
        boot.carried.add(body)
        try:
            await send(self, subject, body)
        finally:
            boot.carried.discard(body)

    return carried


async def _connect(host: str, number: int, tls: Any) -> Any:
    return await HERE.get().link.connect(host, number, tls)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000 + HERE.get().shift_ms


def _log(level: int, text: str) -> None:
    HERE.get().heard(level, text)


def _say(text: str) -> None:
    """Nobody reads what a thousand devices print."""
