"""How large the registry of a fleet is."""

from __future__ import annotations

from pathlib import Path

from bus import Bus
from bus.server import NatsServer


async def on_disk(bus: Bus, server: NatsServer) -> tuple[int, int]:
    """Entries, and bytes of the files that hold them.

    Raises:
        ApiError: there is no registry.
    """
    stream = bus.subjects.registry_stream
    info = await bus.api(f"STREAM.INFO.{stream}")
    size = sum(_sizes(folder) for folder in server.directory.glob(f"**/streams/{stream}"))
    return int(info["state"]["messages"]), size


def _sizes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # the server has tidied it away
    return total
