"""Who is in the fleet, as the registry says."""

from __future__ import annotations

from bus import Bus, codec, store
from bus.client import registry
from bus.wire import headers as h
from bus.wire.card import Card


async def entered(bus: Bus) -> int:
    """The revision of a1's entry."""
    key = bus.subjects.registry_keys + "a1"
    stored = await store.publish(bus, key, codec.encode(Card("a1", "run1")))
    return int(stored["seq"])


async def test_an_entry_goes_that_nobody_has_changed(bus: Bus) -> None:
    old = await entered(bus)
    revision = await entered(bus)
    await registry.remove(bus, "a1", old, "lost")
    assert await registry.card(bus, "a1"), "it came back meanwhile"
    await registry.remove(bus, "a1", revision, "lost")
    assert await registry.card(bus, "a1") is None
    subjects = bus.subjects
    mark = await store.last(bus, subjects.registry_stream, subjects.registry_keys + "a1")
    assert mark is not None
    assert h.find(mark.block, registry.REASON) == "lost"
    assert h.find(mark.block, h.TTL) == "60s"


async def test_of_one_that_was_never_there_no_mark_is_left(bus: Bus) -> None:
    await registry.remove(bus, "a1", 0)
    subjects = bus.subjects
    keys = subjects.registry_keys + "a1"
    assert await store.last(bus, subjects.registry_stream, keys) is None
