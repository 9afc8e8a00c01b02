"""What many agents read of the configuration on the bus. Each reads the same bytes, so they are
read once, and put together once for all to whom the same layers apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bus import Bus
from bus.client import config
from bus.config.changes import Change
from bus.config.followed import Followed
from bus.config.layers import Effective, Layers
from bus.settings import BusSettings
from bus.transport import Inbound
from bus.wire.card import Card

KEPT: Final = 256
"""Of each kind; what is older was read by all."""

Answer = tuple[bytes, bytes]
"""Header block and body."""


class SharedLayers:
    """The layers as the agents of one carrier know them."""

    def __init__(self, fleet: str) -> None:
        # Never connected: it says what subjects are called.
        self._bus = Bus(BusSettings(fleet=fleet))
        self._changes: dict[bytes, Change] = {}
        self._layers: dict[tuple[int, ...], Layers] = {}

    def change(self, block: bytes, data: bytes) -> Change:
        """A write that was heard or fetched; its header block tells it from all others.

        Raises:
            DecodeError: it does not come from the bucket.
        """
        found = self._changes.get(block)
        if found is None:
            if len(self._changes) >= KEPT:
                self._changes.clear()
            message = Inbound(subject="", reply="", data=data, block=block)
            found = self._changes[block] = config.read(self._bus, message)
        return found

    def fetched(self, answers: Sequence[Answer]) -> Followed:
        """What a direct get brought. What was there before a write that does not count, as the
        last of its key, is not looked for.

        Raises:
            DecodeError: it does not come from the bucket.
        """
        followed = Followed()
        for block, data in answers:
            followed.take(self.change(block, data))
        return followed

    def of(self, followed: Followed, card: Card, capabilities: Sequence[str]) -> Effective:
        """What the layers that an agent knows make of it."""
        key = tuple(sorted(one.revision for one in followed.stored.values()))
        found = self._layers.get(key)
        if found is None:
            if len(self._layers) >= KEPT:
                self._layers.clear()
            found = self._layers[key] = followed.layers
        return found.of(card.agent, card.site, card.labels, capabilities)
