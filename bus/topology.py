"""The fleet's streams and buckets, declared as data.

``streams`` says what must exist, ``plan`` compares it with what does, ``ensure`` acts on the
plan. Nothing else in fleetbus creates or changes a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from bus.connection import ApiError, Bus
from bus.errors import TopologyConflict, TopologyMissing
from bus.subjects import Subjects

SECOND: Final = 1_000_000_000
"""Nanoseconds: JetStream's unit of time."""

MIB: Final = 1024 * 1024

NEEDS_LEVEL: Final = 1
"""API level of nats-server 2.11: message TTLs, and the markers that announce lost leases."""

SCHEDULES_LEVEL: Final = 2
"""API level of nats-server 2.12: a message that is published at a given time."""

BATCH_LEVEL: Final = 2
"""The same: several messages stored together or not at all."""

REPEAT_LEVEL: Final = 4
"""API level of nats-server 2.14: the same again and again."""


class TopologySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes and durability. Section ``topology`` of the settings file.

    The server sets the sizes of all streams aside when it creates them, about 2.7 GB a fleet
    with these defaults and one replica: a disk with less refuses the fleet.
    """

    replicas: int = 1
    """Copies of each stream: 3 survives the loss of a server, and of its unsynced writes, for
    two more network hops on each stored message."""
    storage: Literal["file", "memory"] = "file"
    """``memory`` loses everything with the server process and is no faster on this path."""
    task_bytes: int = 256 * MIB
    """Waiting tasks; at the limit ``submit`` raises QueueFull rather than lose an old one."""
    result_bytes: int = 256 * MIB
    """Results; at the limit the oldest go first."""
    result_hours: float = 24.0
    """How long a result can be asked for: longer = more disk."""
    event_bytes: int = 64 * MIB
    event_days: float = 7.0
    dead_bytes: int = 64 * MIB
    dead_days: float = 30.0
    audit_bytes: int = 64 * MIB
    telemetry_bytes: int = 128 * MIB
    telemetry_days: float = 7.0
    thing_bytes: int = 64 * MIB
    """What things have said and nobody has dealt with yet, for a day; at the limit the oldest go
    first. As much again for what the fleet knows of them."""
    site_bytes: int = 128 * MIB
    """Tasks handed over to sites that wait for their link; at the limit further ones wait in the
    task queue."""
    registry_bytes: int = 256 * MIB
    config_bytes: int = 64 * MIB
    """Configuration, 64 writes of each layer; at the limit fewer of them are kept."""
    payload_bytes: int = 1024 * MIB
    """Big payloads, kept as objects for as long as results."""
    dedup_seconds: float = 120.0
    """How long a message id is remembered: longer = more memory in the server."""
    ack_wait: float = 10.0
    """Seconds until an unacknowledged task is given out again with nobody's help: lower =
    faster recovery where nothing else notices, more in-progress acks."""


def streams(
    subjects: Subjects, settings: TopologySettings, level: int
) -> dict[str, dict[str, Any]]:
    """Stream configurations by name, holding only what we care about. Pure."""
    s = settings
    common: dict[str, Any] = {
        "storage": s.storage,
        "num_replicas": s.replicas,
        "allow_direct": True,
    }
    scheduled = level >= SCHEDULES_LEVEL
    tasks: dict[str, Any] = {
        **common,
        "subjects": [subjects.tasks],
        "retention": "workqueue",
        "discard": "new",
        "max_bytes": s.task_bytes,
        "max_age": 0,
        "duplicate_window": int(s.dedup_seconds * SECOND),
        "allow_msg_ttl": True,
        # A lane is a consumer: three a capability soon pass the server's default of 1,000.
        "max_consumers": 30_000,
    }
    limits = {**common, "retention": "limits", "discard": "old"}
    results_age = int(s.result_hours * 3600 * SECOND)
    bucket = {
        **common,
        "retention": "limits",
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    schedules: dict[str, dict[str, Any]] = {}
    if scheduled:
        # The server allows no schedules in a stream that refuses messages when it is full,
        # which TASKS must. So they fire into a stream of their own, from which coordinators
        # take it to TASKS. Sourcing would do that too, but a source whose messages are all
        # consumed starts, after a restart, behind what fired before the last task was stored.
        schedules[subjects.schedules_stream] = {
            **limits,
            "subjects": [subjects.schedules, subjects.dues],
            "max_bytes": s.task_bytes,
            "max_age": 0,
            # Firings of one schedule that may wait for a coordinator. The oldest go first, and
            # not, as they would at max_bytes, the schedules.
            "max_msgs_per_subject": 1000,
            "allow_msg_schedules": True,
            "allow_msg_ttl": True,
        }
    return {
        **schedules,
        subjects.tasks_stream: tasks,
        subjects.results_stream: {
            **limits,
            "subjects": [subjects.results, subjects.attempts],
            "max_bytes": s.result_bytes,
            "max_age": results_age,
            "duplicate_window": min(int(s.dedup_seconds * SECOND), results_age),
            "republish": _transform(subjects.results, subjects.dones),
        },
        subjects.events_stream: {
            **limits,
            "subjects": [subjects.events],
            "max_bytes": s.event_bytes,
            "max_age": int(s.event_days * 86400 * SECOND),
            "duplicate_window": int(s.dedup_seconds * SECOND),
        },
        subjects.dead_stream: {
            **limits,
            "subjects": [subjects.deads],
            "max_bytes": s.dead_bytes,
            "max_age": int(s.dead_days * 86400 * SECOND),
            "duplicate_window": int(s.dedup_seconds * SECOND),
        },
        subjects.audit_stream: {
            **limits,
            "subjects": [subjects.audits],
            "max_bytes": s.audit_bytes,
            "max_age": 0,
            "deny_delete": True,
            "deny_purge": True,
        },
        subjects.telemetry_stream: {
            **limits,
            "subjects": [subjects.telemetries],
            "max_bytes": s.telemetry_bytes,
            "max_age": int(s.telemetry_days * 86400 * SECOND),
            "duplicate_window": int(s.dedup_seconds * SECOND),
        },
        # They are always there: empty they cost nothing, and a device may come at any time.
        subjects.things_stream: {
            **limits,
            "subjects": [subjects.things_up],
            "retention": "workqueue",
            "max_bytes": s.thing_bytes,
            "max_age": 24 * 3600 * SECOND,
            # One that floods pushes out its own messages, not those of others.
            "max_msgs_per_subject": 1000,
        },
        subjects.thing_records_stream: {
            **bucket,
            "subjects": [f"{subjects.thing_keys}>"],
            "max_bytes": s.thing_bytes,
            "max_msgs_per_subject": 1,
            "allow_msg_ttl": True,
        },
        # Tasks on their way to another side of a link: they wait here while it is down.
        subjects.sites_stream: {
            **tasks,
            "subjects": [subjects.all_site_tasks],
            "max_bytes": s.site_bytes,
            "max_consumers": 10_000,
        },
        subjects.registry_stream: {
            **bucket,
            "subjects": [f"{subjects.registry_keys}>"],
            "max_bytes": s.registry_bytes,
            "max_msgs_per_subject": 1,
            "allow_msg_ttl": True,
            # The broker's own "this lease ran out": kept just long enough to be seen late.
            "subject_delete_marker_ttl": 60 * SECOND,
            "republish": _transform(f"{subjects.registry_keys}*", subjects.adverts),
        },
        subjects.config_stream: {
            **bucket,
            "subjects": [f"{subjects.config_keys}>"],
            "max_bytes": s.config_bytes,
            "max_msgs_per_subject": 64,
            # All layers of a commit at once, or none.
            "allow_atomic": level >= BATCH_LEVEL,
            "republish": {"src": f"{subjects.config_keys}>", "dest": subjects.configs},
        },
        f"OBJ_{subjects.payload_bucket}": {
            **common,
            "subjects": [
                f"$O.{subjects.payload_bucket}.C.>",
                f"$O.{subjects.payload_bucket}.M.>",
            ],
            "retention": "limits",
            "discard": "new",
            "max_bytes": s.payload_bytes,
            "max_age": results_age,
            "allow_rollup_hdrs": True,
        },
    }


class Change(NamedTuple):
    """One step of a plan: create ``stream``, or update it to ``config``."""

    kind: Literal["create", "update"]
    stream: str
    config: dict[str, Any]
    differences: tuple[str, ...] = ()


FIXED: Final = ("storage", "retention", "max_consumers")
"""What a server will not change on a stream that exists."""

_SHRINKS: Final = ("max_bytes", "max_age", "max_msgs_per_subject")


def plan(
    wanted: Mapping[str, Mapping[str, Any]], existing: Mapping[str, Mapping[str, Any]]
) -> list[Change]:
    """What to do so that ``existing`` (stream info by name) becomes ``wanted``. Pure.

    A limit that is already roomier than wanted is left alone on a stream with messages in it,
    because lowering it would delete some of them.

    Raises:
        TopologyConflict: a stream cannot be changed in place; it lists the differences.
    """
    steps: list[Change] = []
    for name, want in wanted.items():
        info = existing.get(name)
        if info is None:
            steps.append(Change("create", name, {"name": name, **want}))
            continue
        have: Mapping[str, Any] = info["config"]
        stored = info.get("state", {}).get("messages", 0)
        fatal: list[str] = []
        changed: dict[str, Any] = {}
        differences: list[str] = []
        for key, value in want.items():
            old = have.get(key, _ZERO.get(key))
            if old == value:
                continue
            shown = f"{key} is {old!r}, wanted {value!r}"
            if key in FIXED:
                fatal.append(shown)
            elif key in _SHRINKS and stored and _smaller(value, old):
                continue
            else:
                changed[key] = value
                differences.append(shown)
        if fatal:
            raise TopologyConflict(name, fatal)
        if changed:
            steps.append(Change("update", name, {**have, **changed}, tuple(differences)))
    return steps


_ZERO: Final[dict[str, Any]] = {
    "allow_atomic": False,
    "allow_direct": False,
    "allow_msg_ttl": False,
    "allow_msg_schedules": False,
    "allow_rollup_hdrs": False,
    "deny_delete": False,
    "deny_purge": False,
    "max_age": 0,
}
"""The server leaves these out of a configuration in which they are off."""


def _smaller(new: int, old: int | None) -> bool:
    unlimited = (None, -1, 0)
    return new not in unlimited and (old in unlimited or new < (old or 0))


def _transform(source: str, destination: str) -> dict[str, str]:
    """Rename what matches ``source`` to ``destination``, wildcard by wildcard."""
    parts = destination.split(".")
    index = 0
    for position, part in enumerate(parts):
        if part == "*":
            index += 1
            parts[position] = f"{{{{wildcard({index})}}}}"
    return {"src": source, "dest": ".".join(parts)}


async def ensure(bus: Bus, settings: TopologySettings | None = None) -> list[Change]:
    """Create or upgrade the fleet's streams; returns what was done. Safe to run at any time.

    Raises:
        FeatureMissing: the server is older than 2.11.
        TopologyConflict: a stream is there and cannot be changed in place.
        BusError, TimeoutError: as for ``Bus.api``.
    """
    level = await bus.require("fleetbus", NEEDS_LEVEL)
    wanted = streams(bus.subjects, settings or TopologySettings(), level)
    existing: dict[str, Mapping[str, Any]] = {}
    for name in wanted:
        try:
            existing[name] = await bus.api(f"STREAM.INFO.{name}")
        except ApiError as error:
            if error.code != ApiError.NO_STREAM:
                raise
    steps = plan(wanted, existing)
    for step in steps:
        await bus.api(f"STREAM.{step.kind.upper()}.{step.stream}", step.config, timeout=30)
    return steps


async def check(bus: Bus) -> None:
    """Return if the fleet has its streams.

    Raises:
        TopologyMissing: it has not; nobody has set it up on this server.
    """
    try:
        await bus.api(f"STREAM.INFO.{bus.subjects.tasks_stream}")
    except ApiError as error:
        if error.code == ApiError.NO_STREAM:
            raise TopologyMissing(bus.subjects.fleet) from None
        raise


async def remove(bus: Bus) -> None:
    """Delete all streams of the fleet and everything in them. For tests and teardown."""
    for name in streams(bus.subjects, TopologySettings(), SCHEDULES_LEVEL):
        try:
            await bus.api(f"STREAM.DELETE.{name}")
        except ApiError as error:
            if error.code != ApiError.NO_STREAM:
                raise
