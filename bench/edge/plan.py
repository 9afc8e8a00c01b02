"""What a simulation does, as one value that its processes share."""

from __future__ import annotations

from typing import Final

import msgspec

CAPABILITIES: Final = ("measure", "picture")
"""Of each device; in the fleet they have the run's name in front."""


class Plan(msgspec.Struct, frozen=True):
    """Times are in seconds."""

    profile: str = "flaky-3g"
    devices: int = 1000
    seconds: float = 600.0
    """With accidents and load; joining before and settling after come on top."""
    rate: float = 20.0
    """Tasks a second."""
    every: float = 10.0
    """Between two readings of a device."""
    seed: int = 1
    run: str = "sim"
    """Begins the names of its devices and capabilities, so that they meet no others."""
    hurry: float = 1.0
    """How much faster all is: links, accidents, tasks, asking a silent server whether it is there,
    and giving out tasks again."""
    patience: float = 240.0
    """Until a task without a result, or a reading that is still kept, counts as lost."""

    def device(self, number: int) -> str:
        """Name of a device."""
        return f"{self.run}-{number:05d}"

    def capability(self, name: str) -> str:
        """What the fleet knows ``name`` as."""
        return f"{self.run}-{name}"
