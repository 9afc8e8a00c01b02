"""The fleet's streams: what is wanted, what a plan makes of what is there, and the real server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bus import Bus, connect, consumers, store, topology
from bus.connection import ApiError
from bus.errors import FeatureMissing, TopologyConflict, TopologyMissing
from bus.server import NatsServer
from bus.subjects import PRIORITIES, Subjects
from bus.testing import eventually, fresh_fleet
from bus.topology import SCHEDULES_LEVEL, SECOND, TopologySettings, plan, streams

SUBJECTS = Subjects("f")


def info(config: dict[str, Any], messages: int = 0) -> dict[str, Any]:
    return {"config": config, "state": {"messages": messages}}


# what is wanted


def test_schedules_are_left_out_on_a_server_without_them() -> None:
    older = streams(SUBJECTS, TopologySettings(), SCHEDULES_LEVEL - 1)
    newer = streams(SUBJECTS, TopologySettings(), SCHEDULES_LEVEL)
    assert set(newer) - set(older) == {"SCHEDULES_f"}
    assert newer["SCHEDULES_f"]["allow_msg_schedules"] is True
    # What is the same on both is the same task queue.
    assert newer["TASKS_f"] == older["TASKS_f"]


def test_settings_reach_every_stream() -> None:
    settings = TopologySettings(replicas=3, storage="memory")
    for config in streams(SUBJECTS, settings, SCHEDULES_LEVEL).values():
        assert (config["num_replicas"], config["storage"]) == (3, "memory")


@pytest.mark.parametrize(
    ("setting", "value", "stream", "key", "becomes"),
    [
        ("task_bytes", 7, "TASKS_f", "max_bytes", 7),
        ("result_bytes", 7, "RESULTS_f", "max_bytes", 7),
        ("result_hours", 2.0, "RESULTS_f", "max_age", 2 * 3600 * SECOND),
        ("result_hours", 2.0, "OBJ_PAYLOADS_f", "max_age", 2 * 3600 * SECOND),
        ("event_bytes", 7, "EVENTS_f", "max_bytes", 7),
        ("event_days", 2.0, "EVENTS_f", "max_age", 2 * 86400 * SECOND),
        ("dead_bytes", 7, "DEAD_f", "max_bytes", 7),
        ("dead_days", 2.0, "DEAD_f", "max_age", 2 * 86400 * SECOND),
        ("audit_bytes", 7, "AUDIT_f", "max_bytes", 7),
        ("registry_bytes", 7, "KV_REGISTRY_f", "max_bytes", 7),
        ("payload_bytes", 7, "OBJ_PAYLOADS_f", "max_bytes", 7),
        ("dedup_seconds", 5.0, "TASKS_f", "duplicate_window", 5 * SECOND),
    ],
)
def test_where_a_setting_goes(
    setting: str, value: float, stream: str, key: str, becomes: int
) -> None:
    settings = msgspec.structs.replace(TopologySettings(), **{setting: value})
    assert streams(SUBJECTS, settings, SCHEDULES_LEVEL)[stream][key] == becomes


def test_ack_wait_is_the_consumers() -> None:
    assert consumers.lane(SUBJECTS, "echo", "p1", 2.5)["ack_wait"] == 2.5 * SECOND


def test_a_message_id_is_not_remembered_for_longer_than_results_are_kept() -> None:
    # The server refuses a window that is longer than the age.
    settings = TopologySettings(result_hours=0.01, dedup_seconds=120.0)
    config = streams(SUBJECTS, settings, SCHEDULES_LEVEL)["RESULTS_f"]
    assert config["duplicate_window"] == config["max_age"] == 36 * SECOND


# plans

WANT = {"storage": "file", "retention": "limits", "max_bytes": 1000, "subjects": ["a"]}


@pytest.mark.parametrize(
    ("have", "messages", "changed"),
    [
        pytest.param({}, 0, None, id="the same"),
        pytest.param({"description": "mine"}, 0, None, id="more than we care about"),
        pytest.param({"subjects": ["b"]}, 5, {"subjects": ["a"]}, id="a subject"),
        pytest.param({"max_bytes": 500}, 5, {"max_bytes": 1000}, id="a limit raised"),
        pytest.param({"max_bytes": 5000}, 0, {"max_bytes": 1000}, id="lowered while empty"),
        pytest.param({"max_bytes": 5000}, 5, None, id="not lowered over messages"),
        pytest.param({"max_bytes": -1}, 5, None, id="unlimited, not lowered over messages"),
        pytest.param({"max_bytes": -1}, 0, {"max_bytes": 1000}, id="unlimited, lowered"),
    ],
)
def test_plan_of_one_stream(
    have: dict[str, Any], messages: int, changed: dict[str, Any] | None
) -> None:
    existing = {**WANT, "name": "S", **have}
    steps = plan({"S": WANT}, {"S": info(existing, messages)})
    if changed is None:
        assert steps == []
        return
    (step,) = steps
    assert (step.kind, step.stream) == ("update", "S")
    # All else stays as it is, whoever set it.
    assert step.config == {**existing, **changed}
    (key, value), *_ = changed.items()
    assert step.differences == (f"{key} is {have[key]!r}, wanted {value!r}",)


def test_plan_creates_what_is_missing() -> None:
    (step,) = plan({"S": WANT}, {})
    assert step == topology.Change("create", "S", {"name": "S", **WANT})


@pytest.mark.parametrize(
    "key", ["allow_direct", "allow_msg_ttl", "allow_msg_schedules", "deny_delete", "deny_purge"]
)
def test_what_the_server_leaves_out_is_off(key: str) -> None:
    assert plan({"S": {key: False}}, {"S": info({"name": "S"})}) == []
    (step,) = plan({"S": {key: True}}, {"S": info({"name": "S"})})
    assert step.differences == (f"{key} is False, wanted True",)


def test_no_age_limit_is_not_a_lower_one() -> None:
    (step,) = plan({"S": {"max_age": 0}}, {"S": info({"name": "S", "max_age": 60}, 5)})
    assert step.config["max_age"] == 0
    assert plan({"S": {"max_age": 60}}, {"S": info({"name": "S"}, 5)}) == []


@pytest.mark.parametrize(
    ("have", "shown"),
    [
        ({"storage": "memory"}, ["storage is 'memory', wanted 'file'"]),
        ({"retention": "workqueue"}, ["retention is 'workqueue', wanted 'limits'"]),
        (
            {"storage": "memory", "retention": "interest", "max_bytes": 1},
            ["storage is 'memory', wanted 'file'", "retention is 'interest', wanted 'limits'"],
        ),
    ],
)
def test_a_conflict_shows_the_differences(have: dict[str, Any], shown: list[str]) -> None:
    with pytest.raises(TopologyConflict) as raised:
        plan({"S": WANT}, {"S": info({**WANT, "name": "S", **have})})
    assert raised.value.stream == "S"
    assert list(raised.value.differences) == shown
    assert str(raised.value).startswith("stream S exists and is incompatible: ")
    for one in shown:
        assert one in str(raised.value)


# the real server


async def names(bus: Bus) -> set[str]:
    found = await bus.api("STREAM.NAMES")
    return {name for name in found["streams"] or () if name.endswith(f"_{bus.subjects.fleet}")}


@pytest.fixture
async def empty(nats_url: str) -> Any:
    """A connection to a fleet without streams, which are removed in the end."""
    async with connect(nats_url, fresh_fleet()) as opened:
        try:
            yield opened
        finally:
            await topology.remove(opened)


async def test_ensure_creates_all_and_twice_does_nothing(empty: Bus) -> None:
    done = await topology.ensure(empty)
    wanted = streams(empty.subjects, TopologySettings(), await empty.api_level())
    assert [(one.kind, one.stream) for one in done] == [("create", name) for name in wanted]
    assert await names(empty) == set(wanted)
    assert await topology.ensure(empty) == []


async def test_remove_leaves_nothing(empty: Bus) -> None:
    await topology.ensure(empty)
    await topology.remove(empty)
    assert await names(empty) == set()
    await topology.remove(empty)


async def test_check_tells_a_fleet_that_is_not_there(empty: Bus) -> None:
    with pytest.raises(TopologyMissing, match=empty.subjects.fleet):
        await topology.check(empty)
    await topology.ensure(empty)
    await topology.check(empty)


async def test_an_older_fleet_is_upgraded_in_place_and_keeps_its_messages(empty: Bus) -> None:
    subjects = empty.subjects
    # As a version would have left it that knew neither TTLs, markers nor republish.
    for name, config in streams(subjects, TopologySettings(), 1).items():
        for key in ("republish", "allow_msg_ttl", "subject_delete_marker_ttl"):
            config.pop(key, None)
        if name == subjects.results_stream:
            config["subjects"] = [subjects.results]
        await empty.api(f"STREAM.CREATE.{name}", {"name": name, **config})
    await store.publish(empty, subjects.task("echo", "p1", "me.1"), b"task")
    await store.publish(empty, subjects.result("me.1"), b"result")
    await store.publish(empty, f"{subjects.registry_keys}a1", b"{}")

    steps = {step.stream: step for step in await topology.ensure(empty)}

    assert steps[subjects.results_stream].kind == "update"
    assert any("republish" in one for one in steps[subjects.results_stream].differences)
    assert any("subjects" in one for one in steps[subjects.results_stream].differences)
    assert any("allow_msg_ttl" in one for one in steps[subjects.registry_stream].differences)
    for stream, subject, data in (
        (subjects.tasks_stream, subjects.task("echo", "p1", "me.1"), b"task"),
        (subjects.results_stream, subjects.result("me.1"), b"result"),
        (subjects.registry_stream, f"{subjects.registry_keys}a1", b"{}"),
    ):
        kept = await store.last(empty, stream, subject)
        assert kept is not None
        assert kept.data == data
    # And it works as a new one does: a result is announced.
    heard: list[bytes] = []
    await empty.listen(subjects.dones, lambda message: heard.append(message.data))
    await store.publish(empty, subjects.result("me.2"), b"announced")
    await eventually(lambda: heard == [b"announced"])
    assert await topology.ensure(empty) == []


async def test_new_settings_change_a_fleet_that_is_there(empty: Bus) -> None:
    await topology.ensure(empty)
    settings = TopologySettings(result_hours=48.0)
    steps = await topology.ensure(empty, settings)
    assert {step.stream for step in steps} == {
        empty.subjects.results_stream,
        f"OBJ_{empty.subjects.payload_bucket}",
    }
    assert await topology.ensure(empty, settings) == []


async def test_a_smaller_limit_deletes_nothing(empty: Bus) -> None:
    await topology.ensure(empty)
    for number in range(20):
        await store.publish(empty, empty.subjects.result(f"me.{number}"), b"x" * 1000)
    assert await topology.ensure(empty, TopologySettings(result_bytes=2000)) == []
    assert await store.last(empty, empty.subjects.results_stream, empty.subjects.result("me.0"))


async def test_an_incompatible_stream_is_refused_and_untouched(empty: Bus) -> None:
    name = empty.subjects.tasks_stream
    config = {"name": name, "subjects": [empty.subjects.tasks], "storage": "memory"}
    await empty.api(f"STREAM.CREATE.{name}", config)
    with pytest.raises(TopologyConflict) as raised:
        await topology.ensure(empty)
    assert raised.value.stream == name
    assert "storage is 'memory', wanted 'file'" in raised.value.differences
    assert "retention is 'limits', wanted 'workqueue'" in raised.value.differences
    # Nothing was created beside it either.
    assert await names(empty) == {name}


async def test_lanes_are_three_consumers_and_may_be_ensured_again(bus: Bus) -> None:
    for _ in range(2):
        await consumers.ensure_lanes(bus, "echo", 10.0)
    found = await bus.api(f"CONSUMER.NAMES.{bus.subjects.tasks_stream}")
    assert set(found["consumers"]) == {f"echo-{priority}" for priority in PRIORITIES}


async def test_a_lane_gives_out_again_after_its_ack_wait(bus: Bus) -> None:
    await consumers.ensure_lanes(bus, "echo", 3.0)
    await consumers.ensure_lanes(bus, "echo", 2.0)
    found = await bus.api(f"CONSUMER.INFO.{bus.subjects.tasks_stream}.echo-p1")
    assert found["config"]["ack_wait"] == 2 * SECOND


async def test_results_are_stored_once_by_the_server(bus: Bus) -> None:
    from bus.wire.result import ONCE

    block = b"NATS/1.0\r\n" + ONCE + b"\r\n"
    subject = bus.subjects.result("me.1")
    await store.publish(bus, subject, b"first", block)
    with pytest.raises(ApiError) as raised:
        await store.publish(bus, subject, b"second", block)
    assert raised.value.code == ApiError.WRONG_LAST_SEQUENCE


async def test_a_server_without_what_is_needed_is_refused(
    empty: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No server that old installs with the wheel: the level that it would tell is asked for.
    monkeypatch.setattr(topology, "NEEDS_LEVEL", 99)
    with pytest.raises(FeatureMissing, match="API level 99") as raised:
        await topology.ensure(empty)
    assert raised.value.has == await empty.api_level()
    assert await names(empty) == set()


async def test_streams_outlive_the_server(nats_url: str, tmp_path: Any) -> None:
    async with NatsServer(store_dir=tmp_path) as server, connect(server.url, "f") as bus:
        await topology.ensure(bus)
        await store.publish(bus, bus.subjects.task("echo", "p1", "me.1"), b"task")
        await server.kill()
        await server.restart()
        await eventually(lambda: bus.connected)
        assert await topology.ensure(bus) == []
        kept = await store.last(bus, "TASKS_f", bus.subjects.task("echo", "p1", "me.1"))
        assert kept is not None
        assert kept.data == b"task"
