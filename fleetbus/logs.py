"""Logging of the processes that stay: agents and coordinators."""

from __future__ import annotations

import logging
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")


def configure(level: str) -> None:
    """Log to stderr from ``level`` on. The libraries below are heard from ``warning`` on."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING
    )
    logging.getLogger("fleetbus").setLevel(level.upper())
