"""What a change of the layers changes for each agent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bus.config import Layers, paths
from bus.config.layers import INSTANCE, Stored
from bus.config.merge import canonical
from bus.config.provenance import leaves
from bus.wire.config import ConfigLayer


class Agent(Protocol):
    """What selectors ask of an agent."""

    @property
    def agent(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def capabilities(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs."""

    key: str
    """Dotted path."""
    old: Any
    new: Any
    added: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """Agents for which the same values differ."""

    agents: tuple[str, ...]
    differences: tuple[Difference, ...]


def layers_of(layers: Mapping[str, ConfigLayer]) -> Layers:
    """Layers that are not on the bus."""
    return Layers(Stored(name, layer, 0) for name, layer in layers.items())


def effects(before: Layers, after: Layers, agents: Iterable[Agent]) -> list[Effect]:
    """How the effective configuration differs, agents alike together; those for whom nothing
    does are left out."""
    found: dict[tuple[str, str], list[str]] = {}
    values: dict[tuple[str, str], tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    for one in agents:
        old = before.of(one.agent, one.site, one.labels, one.capabilities)
        new = after.of(one.agent, one.site, one.labels, one.capabilities)
        if old.hash != new.hash:
            key = (old.hash, new.hash)
            found.setdefault(key, []).append(one.agent)
            values[key] = (old.values, new.values)
    alike = sorted((sorted(names), key) for key, names in found.items())
    return [Effect(tuple(names), tuple(_differences(*values[key]))) for names, key in alike]


def instances(*several: Layers) -> set[str]:
    """The agents that have a layer of their own in any of them."""
    return {
        name.removeprefix(INSTANCE)
        for one in several
        for name in one.stored
        if name.startswith(INSTANCE)
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    before, after = dict(leaves(old)), dict(leaves(new))
    return [
        Difference(
            paths.shown(path),
            before.get(path),
            after.get(path),
            added=path not in before,
            removed=path not in after,
        )
        for path in sorted({*before, *after})
        if path not in before
        or path not in after
        or canonical(before[path]) != canonical(after[path])
    ]
