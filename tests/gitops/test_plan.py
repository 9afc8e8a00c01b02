"""What a sync decides to write, from a commit and what is on the bus."""

from __future__ import annotations

from typing import Any

from bus.config import Layers
from bus.config.changes import Change
from bus.config.past import State, state
from bus.subjects import HEAD, LAYERS
from bus.wire.config import ConfigHead, ConfigLayer
from fleetbus.gitops.effect import effects, instances, layers_of
from fleetbus.gitops.plan import plan


def layer(value: Any, by: str = "", **more: Any) -> ConfigLayer:
    return ConfigLayer({"value": value}, by=by, **more)


def bus(*writes: tuple[str, Any], head: int = 0) -> State:
    """A bucket after ``writes`` (layer and value; None deletes, text is garbage); the head comes
    after the first ``head`` of them."""
    changes: list[Change] = []
    for number, (name, value) in enumerate(writes, 1):
        batched = number <= head
        problem = value if isinstance(value, str) else ""
        stored = None if problem else value
        changes.append(Change(LAYERS + name, len(changes) + 1, "", batched, stored, problem))
        if number == head:
            changes.append(Change(HEAD, len(changes) + 1, "", True, ConfigHead("one")))
    return state(changes)


WANTED = {"global": layer(1), "fleet": layer(2)}


def test_nothing_to_do_whoever_wrote_it() -> None:
    there = bus(("global", layer(1, by="ada")), ("fleet", layer(2, by="bob")), head=2)
    assert plan(WANTED, there).changes == {}


def test_what_is_new_differs_or_is_surplus() -> None:
    there = bus(("global", layer(0)), ("instance.a", layer(1)), head=2)
    assert plan(WANTED, there).changes == {**WANTED, "instance.a": None}
    # Deleted already: not again.
    there = bus(("global", layer(1)), ("fleet", layer(2)), ("instance.a", None), head=3)
    assert plan(WANTED, there).changes == {}


def test_edits_behind_the_head_are_reverted() -> None:
    synced = (("global", layer(1)), ("fleet", layer(2)))
    changed = plan(WANTED, bus(*synced, ("global", layer(9)), head=2))
    assert (changed.changes, changed.reverted) == ({"global": layer(1)}, ("global",))
    deleted = plan(WANTED, bus(*synced, ("fleet", None), head=2))
    assert (deleted.changes, deleted.reverted) == ({"fleet": layer(2)}, ("fleet",))
    added = plan(WANTED, bus(*synced, ("instance.x", layer(9)), head=2))
    assert (added.changes, added.reverted) == ({"instance.x": None}, ("instance.x",))
    garbage = plan(WANTED, bus(*synced, ("global", "garbage"), head=2))
    assert (garbage.changes, garbage.reverted) == ({"global": layer(1)}, ("global",))
    # Edited into what Git says, too.
    same = plan(WANTED, bus(*synced, ("global", layer(1, by="eve")), head=2))
    assert (same.changes, same.reverted) == ({}, ())


def test_a_fleet_that_never_synced_says_what_it_would_lose() -> None:
    there = bus(("global", layer(1)), ("instance.a", layer(5)))
    todo = plan(WANTED, there)
    assert todo.changes == {"fleet": layer(2), "instance.a": None}
    assert (todo.foreign, todo.reverted) == (("instance.a",), ())


class Agent:
    def __init__(self, agent: str, **labels: str) -> None:
        self.agent = agent
        self.site = "s"
        self.labels = labels
        self.capabilities = ("echo",)


def test_effects_put_agents_alike_together() -> None:
    before = layers_of(
        {
            "global": ConfigLayer({"a": 1, "gone": 1, "deep": {"x": 1}}),
            "instance.b": ConfigLayer({"a": 5}),
        }
    )
    after = layers_of(
        {
            "global": ConfigLayer({"a": 2, "deep": {"x": 1, "y": 2}}),
            "group.10-gpu": ConfigLayer({"gpu": True}, "gpu"),
            "instance.b": ConfigLayer({"a": 5}),
        }
    )
    found = effects(before, after, [Agent("c"), Agent("b"), Agent("a"), Agent("g", gpu="1")])
    assert [one.agents for one in found] == [("a", "c"), ("b",), ("g",)]
    assert [(d.key, d.old, d.new, d.added, d.removed) for d in found[0].differences] == [
        ("a", 1, 2, False, False),
        ("deep.y", None, 2, True, False),
        ("gone", 1, None, False, True),
    ]
    assert "a" not in [one.key for one in found[1].differences]
    assert effects(after, after, [Agent("a")]) == []
    assert instances(before, after) == {"b"}


def test_a_number_is_not_true() -> None:
    def of(values: dict[str, Any]) -> Layers:
        return layers_of({"global": ConfigLayer(values)})

    before = of({"a": 1, "b": [1], "c": 1, "d": True, "same": True})
    after = of({"a": True, "b": [True], "c": 1.0, "d": 1, "same": True})
    (found,) = effects(before, after, [Agent("a")])
    assert [one.key for one in found.differences] == ["a", "b", "c", "d"]
