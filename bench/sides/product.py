"""Processes of the product as its users start them, with ``python -m fleetbus``."""

from __future__ import annotations

from typing import Final

from bench.harness.servers import FLEET

BYTECODE: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""Environment of what is timed from its start: keep compiled modules, as Python does unless it
is told otherwise and as an installed package comes with them."""


def coordinator(url: str, name: str = "", site: str = "") -> tuple[str, ...]:
    """What ``spawn`` starts ``fleetbus coordinator`` with."""
    named = ("--name", name) if name else ()
    placed = ("--site", site) if site else ()
    return ("-m", "fleetbus", "coordinator", *_where(url), *named, *placed, "--log-level", "error")


def agent(url: str, target: str) -> tuple[str, ...]:
    """What ``spawn`` starts ``fleetbus agent run TARGET`` with."""
    return ("-m", "fleetbus", "agent", "run", target, *_where(url), "--log-level", "error")


def agents(url: str) -> tuple[str, ...]:
    """``fleetbus agents --json``, which does not wait for load reports."""
    return ("-m", "fleetbus", "agents", "--json", "--listen", "0", *_where(url))


def drift(url: str) -> tuple[str, ...]:
    """``fleetbus config drift --json``, which exits with 1 if anything drifts."""
    return ("-m", "fleetbus", "config", "drift", "--json", *_where(url))


def _where(url: str) -> tuple[str, ...]:
    return ("--url", url, "--fleet", FLEET)
