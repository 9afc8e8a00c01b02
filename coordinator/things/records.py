"""Reads and changes the records of things: compare-and-set, by whoever has something to change."""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
from collections.abc import AsyncIterator, Callable
from typing import Final, Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from bus import codec, store
from bus.connection import ApiError, Bus
from bus.errors import BusError, DecodeError
from bus.wire import headers as h
from coordinator.things.record import NOTHING, Record

T = TypeVar("T")

RECORD: Final = "thing."
"""Begins the keys of records; the thing's id follows."""

KEPT: Final = 7 * 24 * 3600
"""Seconds that a record is kept of a thing that is not heard of any more."""

TRIES: Final = 30


class Changed(NamedTuple, Generic[T]):
    """What a step has led to."""

    outcome: T
    record: Record
    revision: int
    """Counts up with each change of a record, whoever makes it."""


class Records:
    """The bucket of the fleet's things."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._rng = random.Random()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read(self, thing: str) -> tuple[Record, int]:
        """A thing's record and its revision; an empty one and 0 if there is none.

        From the stream's leader: a replica that lags would have results refused that are good.

        Raises:
            BusError, TimeoutError: as for ``Bus.api``.
        """
        data, revision = await self.get(RECORD + thing)
        if not data:
            return NOTHING, revision
        return self._record(thing, data), revision

    def _record(self, thing: str, data: bytes) -> Record:
        try:
            return codec.decode(Record, data, f"record of thing {thing}")
        except DecodeError as problem:
            # Somebody wrote into the bucket by hand: the device announces itself again.
            self._bus.drop(self._bus.subjects.thing_keys + RECORD + thing, problem)
            return NOTHING

    async def change(self, thing: str, step: Callable[[Record], tuple[Record, T]]) -> Changed[T]:
        """Apply ``step``, which must be pure, until nobody else has changed the record meanwhile.

        Raises:
            BusError, TimeoutError: it could not be stored.
            Whatever ``step`` raises.
        """
        lock = self._locks.get(thing)
        if lock is None:
            lock = self._locks[thing] = asyncio.Lock()
        async with lock:
            for tries in range(TRIES):
                record, revision = await self.read(thing)
                changed, outcome = step(record)
                if changed == record:
                    return Changed(outcome, record, revision)
                try:
                    stored = await self.put(RECORD + thing, codec.encode(changed), KEPT, revision)
                    return Changed(outcome, changed, stored)
                except ApiError as error:
                    if error.code != ApiError.WRONG_LAST_SEQUENCE:
                        raise
                await asyncio.sleep(self._rng.uniform(0.0, 0.002 * (tries + 1)))
        raise BusError(f"the record of thing {thing} was changed by others {TRIES} times")

    async def known(self) -> AsyncIterator[tuple[str, Record]]:
        """The ids of all things that have a record, and those.

        Raises:
            TopologyMissing, TimeoutError, Disconnected: as for ``store.scan``.
        """
        prefix = self._bus.subjects.thing_keys + RECORD
        stream = self._bus.subjects.thing_records_stream
        async for message in store.scan(self._bus, stream, f"{prefix}*"):
            thing = h.find(message.block, "Nats-Subject")[len(prefix) :]
            if message.data:
                yield thing, self._record(thing, message.data)

    # plain values of the bucket

    async def get(self, key: str) -> tuple[bytes, int]:
        """The value of a key and its revision; empty and 0 if there is none.

        Raises:
            BusError, TimeoutError: as for ``Bus.api``.
        """
        subjects = self._bus.subjects
        try:
            answer = await self._bus.api(
                f"STREAM.MSG.GET.{subjects.thing_records_stream}",
                {"last_by_subj": subjects.thing_keys + key},
            )
            message = answer["message"]
            return base64.b64decode(message.get("data", "")), int(message["seq"])
        except ApiError as error:
            if error.code != ApiError.NO_MESSAGE:
                raise
            return b"", 0
        except (LookupError, ValueError, binascii.Error) as problem:
            raise BusError(f"the server's answer about {key} cannot be read: {problem}") from None

    async def put(self, key: str, value: bytes, ttl: int, revision: int | None = None) -> int:
        """Store a value for ``ttl`` seconds, if the key's revision still is ``revision``.

        Raises:
            ApiError: it is not, or the bucket is full.
            BusError: as for ``store.publish``.
        """
        fields = [(h.TTL, f"{ttl}s")]
        if revision is not None:
            fields.append((h.EXPECT_LAST_SUBJECT_SEQ, str(revision)))
        subject = self._bus.subjects.thing_keys + key
        stored = await store.publish(self._bus, subject, value, h.encode(fields))
        return int(stored["seq"])
