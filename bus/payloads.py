"""Payloads too big for a message go to an object bucket and travel as their name."""

from __future__ import annotations

from typing import Final

from nats import errors as nats_errors
from nats.js import api as js_api
from nats.js import errors as js_errors
from nats.js.object_store import ObjectStore

from bus.connection import Bus
from bus.errors import BusError, TopologyMissing

HEADROOM: Final = 4096
"""Bytes of a message that are kept for its subject and headers."""


class Payloads:
    """The payload bucket of one fleet."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._store: ObjectStore | None = None

    def too_big(self, data: bytes) -> bool:
        """True if ``data`` does not fit into one message of this server."""
        return len(data) > self._bus.max_payload - HEADROOM

    async def put(self, name: str, data: bytes) -> str:
        """Store ``data`` and return the name that stands for it.

        Raises:
            BusError: the bucket is full or cannot be reached.
        """
        store = await self._open()
        try:
            await store.put(name, data, meta=js_api.ObjectMeta(name=name))
        except (nats_errors.Error, TimeoutError) as problem:
            raise BusError(
                f"payload {name} ({len(data)} bytes) was not stored: {problem}"
            ) from None
        return name

    async def get(self, name: str) -> bytes:
        """Fetch what ``name`` stands for.

        Raises:
            BusError: it is not there (payloads are kept as long as results), or is damaged.
        """
        store = await self._open()
        try:
            found = await store.get(name)
        except (nats_errors.Error, TimeoutError) as problem:
            raise BusError(f"payload {name} cannot be fetched: {problem}") from None
        return found.data or b""

    async def _open(self) -> ObjectStore:
        if self._store is None:
            try:
                self._store = await self._bus.nc.jetstream().object_store(
                    self._bus.subjects.payload_bucket
                )
            except js_errors.NotFoundError:
                raise TopologyMissing(self._bus.subjects.fleet) from None
            except (nats_errors.Error, TimeoutError) as problem:
                raise BusError(f"the payload bucket cannot be reached: {problem}") from None
        return self._store
