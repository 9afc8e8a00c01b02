"""What a sync has to write, decided from a commit and from what is on the bus. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from bus.config.layers import is_legal
from bus.config.merge import canonical
from bus.config.past import State
from bus.selectors import Selector
from bus.subjects import LAYERS
from bus.wire.config import ConfigHead, ConfigLayer


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write."""

    changes: Mapping[str, ConfigLayer | None]
    """By layer; None deletes it."""
    reverted: tuple[str, ...]
    """Layers that were edited on the bus behind Git's back and will be as in Git again."""
    foreign: tuple[str, ...]
    """Layers that were set without Git, on a fleet that has never synced, and would go."""


def plan(wanted: Mapping[str, ConfigLayer], state: State) -> Plan:
    """What makes the bus hold ``wanted`` and no other layers."""
    changes: dict[str, ConfigLayer | None] = {}
    there = state.layers.stored
    for name, layer in wanted.items():
        counts = LAYERS + name not in state.ignored
        if not (counts and name in there and same(there[name].layer, layer)):
            changes[name] = layer
    for key in state.revisions:
        name = key.removeprefix(LAYERS)
        # What cannot be read may hide that it was deleted before.
        surplus = name in there or (key in state.ignored and is_legal(name))
        if key.startswith(LAYERS) and name not in wanted and surplus:
            changes[name] = None
    # Written as the commit says is no edit, whoever did it: an adopted one was committed.
    edited = {
        one.layer
        for one in state.edited
        if one.layer not in wanted or one.value is None or not alike(one.value, wanted[one.layer])
    }
    if state.layers.head is None:
        foreign = tuple(name for name in changes if name in there)
        return Plan(changes, (), foreign)
    return Plan(changes, tuple(name for name in changes if name in edited), ())


def alike(one: ConfigLayer | ConfigHead, other: ConfigLayer) -> bool:
    """True if they set the same for the same agents, wherever they come from."""
    return (
        isinstance(one, ConfigLayer)
        and canonical(one.values) == canonical(other.values)
        and Selector.parse(one.selector) == Selector.parse(other.selector)
    )


def same(one: ConfigLayer, other: ConfigLayer) -> bool:
    """True if they differ at most in who wrote them to the bus."""
    return canonical(msgspec.structs.replace(one, by="")) == canonical(
        msgspec.structs.replace(other, by="")
    )
