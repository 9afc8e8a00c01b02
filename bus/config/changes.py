"""One write to the configuration bucket, as whoever reads it back or hears of it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bus.subjects import LAYERS
from bus.wire.config import ConfigHead, ConfigLayer


@dataclass(frozen=True, slots=True)
class Change:
    """One stored write: of a layer, or of the head."""

    key: str
    """In the bucket: ``layer.<name>`` or ``head``."""
    revision: int
    at: str
    """When the server stored it, RFC 3339."""
    batched: bool
    """One of several that were stored together; the head is the last of them."""
    value: ConfigLayer | ConfigHead | None
    """None if it was deleted, or is garbage."""
    problem: str = ""
    """Why it cannot be read."""

    @property
    def at_s(self) -> float:
        """The same as a Unix time; 0 if the server did not say."""
        try:
            return datetime.fromisoformat(self.at).timestamp()
        except ValueError:
            return 0.0

    @property
    def layer(self) -> str:
        """Name of the layer; empty for the head."""
        return self.key[len(LAYERS) :] if self.key.startswith(LAYERS) else ""
