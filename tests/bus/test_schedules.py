"""Tasks that the broker submits later, on a real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest

from agent_runtime import Agent, Task
from bus import Bus, Client, store
from bus.client.schedules import Schedule
from bus.client.timing import milliseconds, once, repeated, seconds, unix_time
from bus.errors import (
    FeatureMissing,
    InvalidName,
    NoAgent,
    QueueFull,
    TaskCanceled,
    TaskExpired,
    TaskNotFound,
    TaskRejected,
)
from bus.testing import eventually
from bus.testing import fleet as own_fleet
from bus.topology import REPEAT_LEVEL, SCHEDULES_LEVEL, TopologySettings
from coordinator import Coordinator
from tests.conftest import Join

SOON = timedelta(seconds=0.6)


@pytest.fixture
async def scheduling(client: Client) -> Client:
    """A client of a server that can schedule; the test is skipped on another one."""
    level = await client.bus.api_level()
    if level < SCHEDULES_LEVEL:
        pytest.skip(f"needs API level {SCHEDULES_LEVEL} (nats-server 2.12), this one has {level}")
    return client


@pytest.fixture
async def repeating(client: Client) -> Client:
    """A client of a server that can repeat; the test is skipped on another one."""
    level = await client.bus.api_level()
    if level < REPEAT_LEVEL:
        pytest.skip(f"needs API level {REPEAT_LEVEL} (nats-server 2.14), this one has {level}")
    return client


class Recorder:
    """An agent that keeps what it was given."""

    def __init__(self) -> None:
        self.agent = Agent("recorder", labels={"env": "test"}, slots=4)
        self.seen: list[tuple[str, str]] = []

        @self.agent.capability("note")
        async def note(task: Task, text: str) -> str:
            self.seen.append((task.id, text))
            return text.upper()


async def listed(client: Client) -> list[Schedule]:
    return [one async for one in client.schedules.list()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("1h30m", 5400), ("1.5d", 129600), ("250ms", 0.25), ("2m5s", 125)],
)
def test_seconds(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "1y", "٣s", "5m!"])
def test_seconds_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("every", "pattern"),
    [
        (5, "@every 5s"),
        (1.5, "@every 1.5s"),
        (300, "@every 300s"),
        ("5m", "@every 300s"),
        ("@every 90s", "@every 90s"),
        ("2d", "@every 172800s"),
        ("@hourly", "@hourly"),
        ("*/5 * * * *", "0 */5 * * * *"),
        ("30 0 8 * * 1", "30 0 8 * * 1"),
    ],
)
def test_repeated(every: float | str, pattern: str) -> None:
    assert repeated(every) == pattern


@pytest.mark.parametrize("every", [0, 0.5, -3, float("nan"), "500ms", "often", "@at now", "* *"])
def test_repeated_refuses(every: float | str) -> None:
    with pytest.raises(TaskRejected) as raised:
        repeated(every)
    assert raised.value.field == "every"


def test_once_is_in_utc() -> None:
    at = datetime(2026, 12, 24, 8, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    assert once(at) == "@at 2026-12-24T06:00:00.250Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-24T06:00:00.250Z", 1798092000250),
        ("2026-12-24T06:00:00.123456789Z", 1798092000123),
        ("2026-12-24T06:00:00Z", 1798092000000),
    ],
)
def test_milliseconds(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01T02:00:01.25+02:00", 1.25),
    ],
)
def test_unix_time(stamp: str, expected: float) -> None:
    assert unix_time(stamp) == expected


@pytest.mark.parametrize("stamp", ["yesterday", "", "1970-01-01T00:00:01"])
def test_what_is_no_time(stamp: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|zone"):
        unix_time(stamp)


async def test_a_task_at_a_time_keeps_its_id_and_its_handle_works(
    scheduling: Client, coordinator: Coordinator, join: Join
) -> None:
    recorder = Recorder()
    await join(recorder.agent)
    begun = datetime.now(UTC)
    handle = await scheduling.submit(
        "note", {"text": "later"}, at=begun + SOON, select="env=test", priority=0
    )
    assert recorder.seen == []
    assert await handle.status() == "submitted"
    (found,) = await listed(scheduling)
    assert (found.id, found.capability, found.priority) == (handle.id, "note", 0)
    assert found.select == "env=test"
    assert found.caller == scheduling.id
    assert found.size == len(b'{"text":"later"}')
    assert abs(found.at_ms / 1000 - (begun + SOON).timestamp()) < 0.01
    result = await handle.outcome(timeout=10)
    assert datetime.now(UTC) - begun >= SOON
    assert result.value() == "LATER"
    assert result.attempt == 1
    assert recorder.seen == [(handle.id, "later")]
    assert await listed(scheduling) == []


async def test_a_time_that_has_passed_means_now(
    scheduling: Client, coordinator: Coordinator, join: Join
) -> None:
    await join(Recorder().agent)
    handle = await scheduling.submit("note", {"text": "x"}, at=datetime(2020, 1, 1, tzinfo=UTC))
    assert await handle.result(timeout=10) == "X"


async def fired(bus: Bus) -> bool:
    """Something is due and not queued yet."""
    found = [m async for m in store.scan(bus, bus.subjects.schedules_stream, bus.subjects.dues)]
    return bool(found)


async def test_one_that_fires_with_nobody_there_waits(
    scheduling: Client, nats_url: str, fleet: str, join: Join
) -> None:
    handle = await scheduling.submit("note", {"text": "x"}, at=datetime.now(UTC))
    await eventually(partial(fired, scheduling.bus))
    assert await scheduling.get(handle.id) == "submitted"
    async with Coordinator.connect(nats_url, fleet):
        await join(Recorder().agent)
        assert await handle.result(timeout=10) == "X"
    assert not await fired(scheduling.bus)


async def test_one_that_fires_into_a_full_queue_waits(nats_url: str) -> None:
    settings = TopologySettings(task_bytes=64_000)
    async with (
        own_fleet(nats_url, settings=settings) as name,
        Client.connect(nats_url, name) as client,
        Coordinator.connect(nats_url, name, topology_settings=settings),
    ):
        if await client.bus.api_level() < SCHEDULES_LEVEL:
            pytest.skip("needs nats-server 2.12")
        for size in (2000, 0):
            # Large ones first, then small ones into what is left.
            with pytest.raises(QueueFull):
                await client.submit_many("filler", [b"x" * size] * 100, outstanding=1)
        handle = await client.submit("note", {"text": "x"}, at=datetime.now(UTC))
        await eventually(partial(fired, client.bus))
        subjects = client.bus.subjects
        fillers = {"filter": subjects.lane("filler", "p1")}
        await client.bus.api(f"STREAM.PURGE.{subjects.tasks_stream}", fillers)
        async with Recorder().agent.connect(nats_url, name):
            assert await handle.result(timeout=10) == "X"


async def test_canceling_takes_the_schedule_back(
    scheduling: Client, coordinator: Coordinator, join: Join
) -> None:
    recorder = Recorder()
    await join(recorder.agent)
    handle = await scheduling.submit("note", {"text": "no"}, at=datetime.now(UTC) + SOON)
    marker = await scheduling.submit("note", {"text": "yes"}, at=datetime.now(UTC) + SOON * 1.5)
    assert await handle.cancel("changed my mind")
    with pytest.raises(TaskCanceled, match="changed my mind"):
        await handle.result(timeout=5)
    assert await marker.result(timeout=10) == "YES"
    assert [text for _, text in recorder.seen] == ["yes"]


async def test_another_client_cancels_by_id(scheduling: Client, nats_url: str, fleet: str) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    handle = await scheduling.submit("note", {"text": "no"}, at=at)
    async with Client.connect(nats_url, fleet, name="other") as other:
        assert await other.get(handle.id) == "submitted"
        assert await other.cancel(handle.id)
    with pytest.raises(TaskCanceled):
        await handle.result(timeout=5)
    assert await listed(scheduling) == []


async def test_a_firing_that_was_canceled_is_not_queued(
    scheduling: Client, nats_url: str, fleet: str, join: Join
) -> None:
    recorder = Recorder()
    handle = await scheduling.submit("note", {"text": "no"}, at=datetime.now(UTC))
    await eventually(partial(fired, scheduling.bus))
    assert await handle.cancel()
    async with Coordinator.connect(nats_url, fleet):
        await join(recorder.agent)
        assert await (await scheduling.submit("note", {"text": "yes"})).result(timeout=5) == "YES"

        async def gone() -> bool:
            return not await fired(scheduling.bus)

        await eventually(gone)
    assert [text for _, text in recorder.seen] == ["yes"]


async def test_a_deadline_counts_from_the_time(scheduling: Client) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    handle = await scheduling.submit("note", {"text": "x"}, at=at, deadline=60)
    assert abs(handle.deadline / 1000 - (at.timestamp() + 60)) < 1


async def test_a_deadline_that_passes_expires_it(
    scheduling: Client, coordinator: Coordinator
) -> None:
    handle = await scheduling.submit("note", at=datetime.now(UTC) + SOON / 2, deadline=0.3)
    with pytest.raises(TaskExpired):
        await handle.result(timeout=10)


async def test_one_key_is_one_task(
    scheduling: Client, coordinator: Coordinator, join: Join
) -> None:
    recorder = Recorder()
    await join(recorder.agent)
    hour = datetime.now(UTC) + timedelta(hours=1)
    first = await scheduling.submit("note", {"text": "a"}, at=hour, key="k")
    again = await scheduling.submit("note", {"text": "a"}, at=hour, key="k")
    assert first.id == again.id
    assert len(await listed(scheduling)) == 1
    moved = await scheduling.submit("note", {"text": "b"}, at=datetime.now(UTC), key="k")
    assert await moved.result(timeout=10) == "B"
    after = await scheduling.submit("note", {"text": "c"}, at=datetime.now(UTC), key="k")
    assert await after.result(timeout=10) == "B"
    assert len(recorder.seen) == 1


async def test_repeated_firings_are_tasks_of_their_own(
    repeating: Client, coordinator: Coordinator, join: Join
) -> None:
    recorder = Recorder()
    await join(recorder.agent)
    schedule_id = await repeating.submit("note", {"text": "tick"}, every=1)
    await eventually(lambda: len(recorder.seen) >= 2, timeout=10)
    ids = [task_id for task_id, _ in recorder.seen]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith(f"{schedule_id}-") for one in ids)
    (found,) = await listed(repeating)
    assert (found.id, found.pattern, found.at_ms) == (schedule_id, "@every 1s", 0)
    await repeating.schedules.remove(schedule_id)
    assert await listed(repeating) == []
    fired = len(recorder.seen)
    # One more period and a half: a removed schedule would have fired again.
    await asyncio.sleep(1.5)
    assert len(recorder.seen) <= fired + 1
    with pytest.raises(TaskNotFound):
        await repeating.schedules.remove(schedule_id)


async def test_removing_one_that_has_not_fired_cancels_its_task(scheduling: Client) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    handle = await scheduling.submit("note", {"text": "x"}, at=at)
    await scheduling.schedules.remove(handle.id)
    with pytest.raises(TaskCanceled, match="schedule was removed"):
        await handle.result(timeout=5)


async def test_cancel_removes_a_repeated_schedule(repeating: Client) -> None:
    schedule_id = await repeating.schedules.schedule("note", {"text": "x"}, every="@daily")
    assert await repeating.cancel(schedule_id)
    assert await listed(repeating) == []


async def test_what_cannot_be_scheduled(scheduling: Client) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    schedule = scheduling.schedules.schedule
    with pytest.raises(TaskRejected, match="either at or every"):
        await schedule("note")
    with pytest.raises(TaskRejected, match="either at or every"):
        await schedule("note", at=at, every=5)
    with pytest.raises(TaskRejected, match="takes no deadline"):
        await schedule("note", every=5, deadline=3)
    with pytest.raises(TaskRejected, match="must fit a message"):
        await schedule("note", b"x" * (scheduling.bus.max_payload + 1), at=at)
    with pytest.raises(NoAgent, match="note"):
        await schedule("note", at=at, require_agent=True)
    with pytest.raises(InvalidName):
        await schedule("no.te", at=at)
    with pytest.raises(InvalidName):
        await scheduling.schedules.remove("x")
    assert await listed(scheduling) == []


async def test_a_pattern_that_the_broker_cannot_read(repeating: Client) -> None:
    with pytest.raises(TaskRejected, match="cannot read the schedule '0 99 99") as raised:
        await repeating.submit("note", every="99 99 * * *")
    assert raised.value.field == "every"


async def test_a_server_that_is_too_old_says_so(
    bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def old(_: Bus) -> int:
        return SCHEDULES_LEVEL - 1

    monkeypatch.setattr(Bus, "api_level", old)
    with pytest.raises(FeatureMissing, match=f"level {SCHEDULES_LEVEL}"):
        await client.submit("note", at=datetime.now(UTC))
