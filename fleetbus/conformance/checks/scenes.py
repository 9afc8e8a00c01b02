"""The scenes in which checks run. Scenes run side by side, the checks of one in turn."""

from __future__ import annotations

from typing import Final

from bus.wire.heartbeat import FleetPolicy
from fleetbus.conformance.check import Scene


def _scene(name: str, interval: float = 0.3, lease: int = 30, ack_wait: float = 5.0) -> Scene:
    return Scene(name, FleetPolicy(interval=interval, lease=lease, ack_wait=ack_wait))


JOIN: Final = _scene("join")
LEASE: Final = _scene("lease", lease=3)
BEAT: Final = _scene("beat", interval=0.25)
TASK: Final = _scene("task")
ACK: Final = _scene("ack", ack_wait=1.0)
WORK: Final = _scene("work")
CANCEL: Final = _scene("cancel")
COMMAND: Final = _scene("command")
CONFIG: Final = _scene("config", interval=0.2)
LEAVE: Final = _scene("leave")
LINK: Final = _scene("link", ack_wait=20.0)
GARBAGE: Final = _scene("garbage")
