"""Configuration in the bucket: all of a commit or nothing, edits seen, garbage harmless."""

from __future__ import annotations

from typing import Any

import pytest

from bus import Bus, codec
from bus.client import config
from bus.config.changes import Change
from bus.errors import ConfigConflict, ConfigError, InvalidLayer, MessageTooBig
from bus.wire import headers as h
from bus.wire.config import ConfigHead, ConfigLayer


def layer(value: Any, selector: str = "") -> ConfigLayer:
    return ConfigLayer({"value": value}, selector)


async def commit(bus: Bus, commit_id: str, **changes: ConfigLayer | None) -> int:
    """Write layers, ``__`` for a dot and ``_`` for a dash, as of a commit."""
    before = await config.current(bus)
    named = {name.replace("__", ".").replace("_", "-"): one for name, one in changes.items()}
    return await config.commit(bus, named, ConfigHead(commit_id), before)


async def test_a_commit_is_there_as_a_whole(bus: Bus) -> None:
    assert (await config.current(bus)).layers.stored == {}
    await commit(bus, "one", **{"global": layer(1)}, instance__a=layer(2))
    state = await config.current(bus)
    assert state.layers.commit == "one"
    assert state.layers.of("a", "s", {}, []).values == {"value": 2}
    await commit(bus, "two", instance__a=None)
    state = await config.current(bus)
    assert (state.layers.commit, set(state.layers.stored)) == ("two", {"global"})
    assert (state.edited, state.ignored) == ((), {})


async def test_more_layers_than_the_server_takes_at_once(bus: Bus) -> None:
    many = {f"instance__a{n}": layer(n) for n in range(2345)}
    await commit(bus, "many", **many)
    state = await config.current(bus)
    assert len(state.layers.stored) == 2345
    assert state.ignored == {}


async def test_what_changed_meanwhile_is_not_overwritten(bus: Bus) -> None:
    before = await config.current(bus)
    await config.put(bus, "global", layer("theirs"), 0)
    with pytest.raises(ConfigConflict, match="look again"):
        await config.commit(
            bus,
            {"fleet": layer("ours"), "global": layer("ours")},
            ConfigHead("x"),
            before,
        )
    with pytest.raises(ConfigConflict, match="layer global"):
        await config.put(bus, "global", layer("ours"), 0)
    state = await config.current(bus)
    assert set(state.layers.stored) == {"global"}
    assert state.layers.of("a", "s", {}, []).values == {"value": "theirs"}


async def test_a_layer_that_is_too_big_stops_all(bus: Bus) -> None:
    with pytest.raises(MessageTooBig, match=r"layer\.global"):
        await commit(bus, "big", fleet=layer(1), **{"global": layer("x" * bus.max_payload)})
    assert (await config.current(bus)).revisions == {}


async def test_edits_behind_the_head_are_seen(bus: Bus) -> None:
    revision = await commit(bus, "one", **{"global": layer(1)}, fleet=layer(1))
    await config.put(bus, "global", layer("edited"), 1)
    await config.put(bus, "fleet", None, 2)
    state = await config.current(bus)
    assert [(one.layer, one.value is None) for one in state.edited] == [
        ("global", False),
        ("fleet", True),
    ]
    assert state.followed.head_revision == revision


async def test_garbage_leaves_what_was_there(bus: Bus) -> None:
    await commit(bus, "one", **{"global": layer(1)}, instance__a=layer(2))
    subject = bus.subjects.config_keys
    for garbage in (b"\xff", b"[]", b'{"values":{"value":3},"selector":"in in in"}', b'{"no":1}'):
        await bus.request(f"{subject}layer.global", garbage)
        await bus.request(f"{subject}layer.nonsense", b'{"values":{}}')
        for state in (await config.current(bus), await config.of_agent(bus, "b")):
            assert state.layers.of("b", "s", {}, []).values == {"value": 1}
            assert "layer.global" in state.ignored
    await bus.request(f"{subject}head", b"garbage")
    state = await config.of_agent(bus, "a")
    assert (state.layers.commit, state.layers.of("a", "s", {}, []).values) == ("one", {"value": 2})


async def test_a_sync_that_was_cut_off_does_not_count(bus: Bus) -> None:
    """More than one batch of the server's, and the second never came."""
    await commit(bus, "one", **{"global": layer(1)})
    block = h.encode(
        [("Nats-Batch-Id", "half"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1")]
    )
    await bus.request(f"{bus.subjects.config_keys}layer.global", codec.encode(layer(2)), block)
    for state in (await config.current(bus), await config.of_agent(bus, "a")):
        assert state.layers.of("a", "s", {}, []).values == {"value": 1}
        assert "interrupted" in state.ignored["layer.global"]
        assert state.edited == ()
    await commit(bus, "two", fleet=layer(0))
    assert (await config.of_agent(bus, "a")).layers.of("a", "s", {}, []).values == {"value": 0}


async def test_an_agent_asks_only_for_what_is_its_own(bus: Bus) -> None:
    await commit(
        bus,
        "one",
        **{"global": layer(1)},
        group__10_x=layer(2, "gpu"),
        instance__a=layer(3),
        instance__b=layer(4),
    )
    state = await config.of_agent(bus, "a")
    assert set(state.layers.stored) == {"global", "group.10-x", "instance.a"}


async def test_what_is_republished_reads_like_what_is_stored(bus: Bus) -> None:
    seen: list[Change] = []
    await bus.listen(bus.subjects.configs, lambda m: seen.append(config.read(bus, m)))
    await commit(bus, "one", **{"global": layer(1)})
    await config.put(bus, "global", None, 1)
    await bus.flush()
    assert seen == [one async for one in config.history(bus)]
    assert [(one.key, one.batched, one.revision) for one in seen] == [
        ("layer.global", True, 1),
        ("head", True, 2),
        ("layer.global", False, 3),
    ]


@pytest.mark.parametrize(
    "name", ["", "globals", "group.x", "group.1-x", "group.10-", "instance.", "instance.a.b"]
)
async def test_layers_that_there_are_not(bus: Bus, name: str) -> None:
    with pytest.raises(InvalidLayer, match="write global, fleet"):
        await config.put(bus, name, layer(1), 0)


async def test_deleted_groups_do_not_keep_agents_from_starting(bus: Bus) -> None:
    """Each deletion leaves a mark, and the server answers for 1,024 keys at once."""
    for generation in range(3):
        new = {f"group__{n % 90 + 10}_g{generation}x{n}": layer(generation) for n in range(400)}
        old = (await config.current(bus)).layers.stored
        await commit(bus, f"c{generation}", **new, **dict.fromkeys(map(spelled, old)))
    found = await config.of_agent(bus, "a")
    assert len(found.layers.stored) == 400
    assert found.layers.of("a", "s", {}, []).values == {"value": 2}
    # What was deleted last is remembered, and the rest forgotten.
    assert await config.tidy(bus, await config.current(bus)) == 800 - config.MARKS
    state = await config.current(bus)
    assert (len(state.layers.stored), len(state.revisions)) == (400, 400 + config.MARKS + 1)
    assert await config.tidy(bus, state) == 0


def spelled(name: str) -> str:
    """A layer's name as ``commit`` takes it."""
    return name.replace("-", "_").replace(".", "__")


async def test_a_full_bucket_keeps_less_of_the_past(bus: Bus) -> None:
    stream = bus.subjects.config_stream
    settings = (await bus.api(f"STREAM.INFO.{stream}"))["config"]
    await bus.api(f"STREAM.UPDATE.{stream}", {**settings, "max_bytes": 2_000_000})
    big = "x" * 60_000
    for number in range(40):
        await commit(bus, f"c{number}", **{"global": layer(f"{number}{big}")})
    await config.put(bus, "fleet", layer("alone"), 0)
    state = await config.current(bus)
    assert state.layers.commit == "c39"
    writes = [one async for one in config.history(bus) if one.layer == "global"]
    assert config.KEPT_WHEN_FULL <= len(writes) < 40

    async def fill() -> None:
        for number in range(40):
            await config.put(bus, f"instance.a{number}", layer(big), 0)

    with pytest.raises(ConfigError, match=r"bucket CONFIG_.* is full.*config_bytes"):
        await fill()


async def test_an_interrupted_sync_does_not_count_with_the_head_of_another(bus: Bus) -> None:
    """One reads; another writes the first of two batches and dies; the first one commits."""
    many = {f"instance__a{n}": layer("base") for n in range(1500)}
    await commit(bus, "base", **many)
    before = await config.current(bus)
    block = h.encode(
        [("Nats-Batch-Id", "half"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1")]
    )
    key = f"{bus.subjects.config_keys}layer.instance.a1"
    await bus.request(key, codec.encode(layer("half")), block)
    with pytest.raises(ConfigConflict):
        await config.commit(bus, {"global": layer(1)}, ConfigHead("late"), before)
    state = await config.current(bus)
    assert state.layers.commit == "base"
    assert state.layers.of("a1", "s", {}, []).values == {"value": "base"}
    assert "layer.instance.a1" in state.ignored


@pytest.mark.parametrize("value", [b'{"commit":"zz"}', b'{"commit":""}', b"", b"garbage"])
async def test_a_head_that_no_sync_wrote_does_not_count(bus: Bus, value: bytes) -> None:
    await commit(bus, "one", **{"global": layer(1)})
    await bus.request(f"{bus.subjects.config_keys}head", value)
    for state in (await config.current(bus), await config.of_agent(bus, "a")):
        assert state.layers.commit == "one"
        assert "head" in state.ignored


async def test_an_empty_value_is_no_deletion(bus: Bus) -> None:
    await commit(bus, "one", **{"global": layer(1)})
    await bus.request(f"{bus.subjects.config_keys}layer.global", b"")
    for state in (await config.current(bus), await config.of_agent(bus, "a")):
        assert state.layers.of("a", "s", {}, []).values == {"value": 1}


@pytest.mark.parametrize("key", ["bogus", "group.99-", "group.x", "instance.a.b", "group"])
async def test_keys_that_are_no_layers_are_tidied_away(bus: Bus, key: str) -> None:
    await commit(bus, "one", **{"global": layer(1)})
    for value in (b'{"values":{}}', b"garbage", b""):
        await bus.request(f"{bus.subjects.config_keys}layer.{key}", value)
        state = await config.current(bus)
        assert config.strays(state) == [f"layer.{key}"]
        assert await config.tidy(bus, state) == 1
        assert config.strays(await config.current(bus)) == []
