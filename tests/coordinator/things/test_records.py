"""Records are changed by whoever comes, and none of the changes is lost."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from bus import Bus
from bus.errors import BusError
from coordinator.things import records as module
from coordinator.things.record import NOTHING, Record
from coordinator.things.records import Records


async def test_nobody_has_a_record_before_it_says_something(bus: Bus) -> None:
    assert await Records(bus).read("relay-1") == (NOTHING, 0)


async def test_changes_by_many_are_all_there(bus: Bus) -> None:
    many = [Records(bus) for _ in range(5)]  # as of several coordinators

    def more(old: Record) -> tuple[Record, int]:
        return replace(old, done=old.done + 1), old.done

    work = [one.change("relay-1", more) for one in many for _ in range(10)]
    changed = await asyncio.gather(*work)
    assert sorted(one.outcome for one in changed) == list(range(50))
    ordered = sorted(changed, key=lambda one: one.revision)
    assert [one.record.done for one in ordered] == list(range(1, 51))


async def test_a_step_that_changes_nothing_writes_nothing(bus: Bus) -> None:
    records = Records(bus)
    first = await records.change("relay-1", lambda old: (replace(old, boot="b"), None))
    again = await records.change("relay-1", lambda old: (replace(old, boot="b"), None))
    assert again.revision == first.revision


async def test_garbage_in_the_bucket_is_no_record(bus: Bus) -> None:
    records = Records(bus)
    revision = await records.put("thing.relay-1", b"\xff{", 60)
    assert await records.read("relay-1") == (NOTHING, revision)
    changed = await records.change("relay-1", lambda old: (replace(old, boot="b"), None))
    assert (await records.read("relay-1"))[0] == changed.record


async def test_one_that_others_always_win_is_given_up(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIES", 3)
    records, others = Records(bus), Records(bus)
    number = 0

    async def read(thing: str) -> tuple[Record, int]:
        nonlocal number
        found = await Records.read(records, thing)
        number += 1
        await others.change(thing, lambda old: (replace(old, done=number), None))
        return found

    monkeypatch.setattr(records, "read", read)
    with pytest.raises(BusError, match="changed by others 3 times"):
        await records.change("relay-1", lambda old: (replace(old, boot="b"), None))


async def test_known_are_all_that_have_one(bus: Bus) -> None:
    records = Records(bus)
    for thing in ("relay-1", "relay-2"):
        await records.change(thing, lambda old: (replace(old, boot="b"), None))
    await records.put("command.x-relay-1", b"{}", 60)
    await records.put("thing.relay-3", b"garbage", 60)
    found = {thing: record.boot async for thing, record in records.known()}
    assert found == {"relay-1": "b", "relay-2": "b", "relay-3": ""}
