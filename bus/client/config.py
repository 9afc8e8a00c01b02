"""The agents' configuration on the bus: read at one moment, read back, written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from bus import codec, store
from bus.config import layers as names
from bus.config.changes import Change
from bus.config.past import State, state
from bus.connection import ApiError, Bus
from bus.errors import (
    ConfigConflict,
    ConfigError,
    DecodeError,
    InvalidLayer,
    InvalidSelector,
    MessageTooBig,
    TopologyMissing,
)
from bus.selectors import Selector
from bus.subjects import HEAD, LAYERS
from bus.topology import BATCH_LEVEL
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.config import ConfigHead, ConfigLayer

BATCH: Final = 1000
"""Messages that the server stores together or not at all."""

OVERHEAD: Final = 512
"""Bytes that the headers of a write take at most."""

MAX_DEPTH: Final = 100
"""Mappings and lists within each other in a layer's values."""

MARKS: Final = 100
"""Deleted layers that are remembered."""

KEPT_WHEN_FULL: Final = 8
"""Writes of each key that are kept when the bucket is full, instead of 64."""

BURST: Final = 1024 * 1024
"""Bytes that are sent to the server before it is asked whether it keeps up."""


def read(bus: Bus, message: Inbound) -> Change:
    """What a stored or republished message of the configuration bucket says.

    Raises:
        DecodeError: it does not come from the bucket.
    """
    headers = message.headers
    subject = headers.get("Nats-Subject", "")
    prefix = bus.subjects.config_keys
    if not subject.startswith(prefix):
        raise DecodeError("configuration", f"{subject[:120]!r} does not begin with {prefix}")
    key = subject[len(prefix) :]
    value: ConfigLayer | ConfigHead | None = None
    problem = ""
    try:
        if key != HEAD:
            names.check(key.removeprefix(LAYERS))
        if "KV-Operation" not in headers:
            value = _decode(key, message.data)
    except (DecodeError, InvalidSelector, InvalidLayer) as error:
        problem = str(error)
    return Change(
        key,
        store.sequence(message),
        headers.get("Nats-Time-Stamp", ""),
        "Nats-Batch-Id" in headers,
        value,
        problem,
    )


def _decode(key: str, data: bytes) -> ConfigLayer | ConfigHead:
    if key == HEAD:
        return codec.decode(ConfigHead, data, "configuration head")
    layer = codec.decode(ConfigLayer, data, f"configuration {key}")
    _check_depth(key, layer.values)
    Selector.parse(layer.selector)
    return layer


def _check_depth(key: str, values: Any) -> None:
    level = [values]
    for _ in range(MAX_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for many in inner for one in many if isinstance(one, dict | list)]
        if not level:
            return
    # Deeper ones decode, but would break whoever puts layers together by recursion.
    raise DecodeError(f"configuration {key}", f"nested more than {MAX_DEPTH} deep")


EVERYTHING: Final = (f"{LAYERS}>", HEAD)
"""Patterns of the keys of all layers, and of the head."""


def keys(agent: str) -> list[str]:
    """Patterns of the keys that matter to ``agent``: all layers but those of other instances,
    and the head, which is the last.
    """
    wanted = (names.GLOBAL, names.FLEET, f"{names.GROUP}*", names.INSTANCE + agent)
    return [*(LAYERS + name for name in wanted), HEAD]


async def of_agent(bus: Bus, agent: str) -> State:
    """What matters to one agent, at one moment.

    Raises:
        TopologyMissing, TimeoutError, BusError: as for ``store.lasts``.
    """
    prefix = bus.subjects.config_keys
    stream = bus.subjects.config_stream
    subjects = [prefix + key for key in keys(agent)]
    messages: list[Inbound] = []
    try:
        messages = await store.lasts(bus, stream, subjects)
    except store.TooManySubjects:
        # Hundreds of groups, and the marks of as many that are gone. Not at one moment, so the
        # head comes first: what a later one has written waits for that one to be heard.
        for subject in reversed(subjects):
            messages += [one async for one in store.scan(bus, stream, subject)]
    return await _settled(bus, [read(bus, one) for one in messages])


async def _settled(bus: Bus, changes: list[Change], sequence: int = 0) -> State:
    """What the last writes of all keys have led to; where one does not count, what was in force
    before is further back."""
    for key in state(sorted(changes, key=_order)).ignored:
        subject = bus.subjects.config_keys + key
        async for message in store.scan(bus, bus.subjects.config_stream, subject):
            changes.append(read(bus, message))
    return state(sorted(changes, key=_order), sequence)


def _order(change: Change) -> int:
    return change.revision


async def history(bus: Bus) -> AsyncIterator[Change]:
    """All writes that the bucket still has, oldest first: 64 of each key.

    Raises:
        TopologyMissing, TimeoutError, BusError: as for ``store.scan``.
    """
    prefix = bus.subjects.config_keys
    async for message in store.scan(bus, bus.subjects.config_stream, f"{prefix}>"):
        change = read(bus, message)
        if change.layer or change.key == HEAD:
            yield change


async def current(bus: Bus) -> State:
    """The configuration as it is now, at one moment, without its history.

    Raises:
        TopologyMissing, TimeoutError, BusError: as for ``store.lasts`` and ``Bus.api``.
    """
    stream, prefix = bus.subjects.config_stream, bus.subjects.config_keys
    try:
        info = await bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": f"{prefix}>"})
    except ApiError as error:
        if error.code == ApiError.NO_STREAM:
            raise TopologyMissing(bus.subjects.fleet) from None
        raise
    sequence = int(info["state"]["last_seq"])
    ours = (prefix + LAYERS, prefix + HEAD)
    subjects = [one for one in info["state"].get("subjects") or () if one.startswith(ours)]
    changes = []
    for start in range(0, len(subjects), store.MULTI_LAST):
        some = subjects[start : start + store.MULTI_LAST]
        changes += [read(bus, one) for one in await store.lasts(bus, stream, some, sequence)]
    return await _settled(bus, changes, sequence)


async def put(bus: Bus, name: str, layer: ConfigLayer | None, revision: int) -> int:
    """Write one layer, or delete it with None, if ``revision`` is still its last; returns the
    new one. Agents apply it at once.

    Raises:
        InvalidLayer: there is no layer of this name.
        ConfigConflict: somebody else has written it meanwhile.
        ConfigError: there is no room for it.
        BusError: as for ``store.publish``.
    """
    key = LAYERS + names.check(name)
    block = h.encode([*_operation(layer), (h.EXPECT_LAST_SUBJECT_SEQ, str(revision))])
    data = b"" if layer is None else codec.encode(layer)

    async def write() -> int:
        ack = await store.publish(bus, bus.subjects.config_keys + key, data, block)
        return int(ack["seq"])

    return await _make_room(bus, f"layer {name}", write)


async def commit(
    bus: Bus,
    changes: Mapping[str, ConfigLayer | None],
    head: ConfigHead,
    before: State,
) -> int:
    """Write layers (None deletes) and then the head, all or none; returns the head's revision.

    More than 999 layers take several batches of the server's, but agents act on the head, which
    is in the last: if it never comes they keep what they have.

    Args:
        before: as it was when ``changes`` was decided.

    Raises:
        FeatureMissing: the server is older than 2.12.
        ConfigConflict: somebody else has written to the bucket meanwhile.
        MessageTooBig: a layer is larger than the server takes; nothing was written.
        ConfigError: there is no room; what was written does not count.
        BusError, TimeoutError: as for ``Bus.request``.
    """
    await bus.require("configuration from Git", BATCH_LEVEL)
    prefix = bus.subjects.config_keys
    writes: list[tuple[str, list[tuple[str, str]], bytes]] = []
    for name in sorted(changes, key=names.order):
        layer = changes[name]
        data = b"" if layer is None else codec.encode(layer)
        writes.append((LAYERS + names.check(name), _operation(layer), data))
    writes.append((HEAD, [], codec.encode(head)))
    for key, _, data in writes:
        if len(data) + OVERHEAD > bus.max_payload:
            raise MessageTooBig(prefix + key, len(data) + OVERHEAD, bus.max_payload)
    sequence = before.sequence
    for start in range(0, len(writes), BATCH):
        write = partial(_batch, bus, writes[start : start + BATCH], sequence)
        sequence = await _make_room(bus, "the configuration", write)
    return sequence


async def tidy(bus: Bus, state: State) -> int:
    """Forget layers that were deleted long ago, all but the last ``MARKS``, and keys that cannot be
    a layer's; how many those were.

    A deletion leaves a mark, and an agent asks for all groups at once, marks included.

    Raises:
        BusError, TimeoutError: as for ``Bus.api``.
    """
    gone = [
        (revision, key)
        for key, revision in state.revisions.items()
        if key.startswith(LAYERS)
        and key[len(LAYERS) :] not in state.layers.stored
        and key not in state.ignored
    ]
    old = [key for _, key in sorted(gone)[:-MARKS]] + strays(state)
    for key in old:
        await _purge(bus, key)
    return len(old)


def strays(state: State) -> list[str]:
    """Keys among those of layers that cannot be a layer's. Pure."""
    return [key for key in state.ignored if key != HEAD and not names.is_legal(key[len(LAYERS) :])]


async def _make_room(bus: Bus, what: str, write: Callable[[], Awaitable[int]]) -> int:
    """``write``, once more with a shorter history if the bucket is full."""
    try:
        try:
            return await write()
        except ApiError as error:
            if error.code not in ApiError.FULL:
                raise
        writes = Counter([one.key async for one in history(bus)])
        for key, count in writes.items():
            if count > KEPT_WHEN_FULL:
                await _purge(bus, key, KEPT_WHEN_FULL)
        return await write()
    except ApiError as error:
        if error.code == ApiError.WRONG_LAST_SEQUENCE:
            raise ConfigConflict(what) from None
        if error.code in ApiError.FULL:
            raise ConfigError(
                f"{what} was not written: the bucket CONFIG_{bus.subjects.fleet} is full, even "
                f"with {KEPT_WHEN_FULL} writes of each layer; raise the setting config_bytes of "
                "the topology and restart a coordinator, or delete layers"
            ) from None
        raise


async def _purge(bus: Bus, key: str, keep: int = 0) -> None:
    question = {"filter": bus.subjects.config_keys + key, "keep": keep}
    await bus.api(f"STREAM.PURGE.{bus.subjects.config_stream}", question)


async def _batch(
    bus: Bus,
    writes: list[tuple[str, list[tuple[str, str]], bytes]],
    after: int,
) -> int:
    """Write all or none of it, if nothing was written to the stream since ``after``."""
    batch = os.urandom(8).hex()
    prefix = bus.subjects.config_keys
    sent = 0
    for number, (key, fields, data) in enumerate(writes, 1):
        last = number == len(writes)
        block = h.encode(
            [
                *fields,
                # Not only of what we write: of two at a time, one that was interrupted between
                # its batches would count with the head of the other.
                *([(h.EXPECT_LAST_SEQ, str(after))] if number == 1 else []),
                ("Nats-Batch-Id", batch),
                ("Nats-Batch-Sequence", str(number)),
                *([("Nats-Batch-Commit", "1")] if last else []),
            ]
        )
        # The server stores nothing before the commit, so what fails half-way leaves no trace.
        if not last:
            bus.send(prefix + key, data, "", block)
            sent += len(data)
            if sent > BURST:
                sent = 0
                await bus.flush()
            continue
        answer = await bus.request(prefix + key, data, block)
        return int(store.acknowledgement(bus, prefix + key, answer)["seq"])
    return 0


def _operation(layer: ConfigLayer | None) -> list[tuple[str, str]]:
    return [("KV-Operation", "DEL")] if layer is None else []
