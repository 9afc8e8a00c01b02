"""The layers of a configuration: their names, their order, and what they make of an agent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bus.config.merge import digest, merged
from bus.errors import InvalidLayer
from bus.selectors import Selector
from bus.subjects import TOKEN
from bus.wire.config import ConfigHead, ConfigLayer

GLOBAL: Final = "global"
FLEET: Final = "fleet"
GROUP: Final = "group."
INSTANCE: Final = "instance."
MAX_GROUPS: Final = 500
"""Each agent asks for all groups at once, and the server answers for 1,024 keys at most."""

_GROUP: Final = re.compile(rf"group\.(?P<order>[0-9]{{2}})-{TOKEN.pattern}", re.ASCII)


def is_legal(name: str) -> bool:
    """True if ``name`` can be a layer's."""
    return bool(
        name in (GLOBAL, FLEET)
        or (_GROUP.fullmatch(name) and len(name) - len(GROUP) <= 64)
        or (name.startswith(INSTANCE) and TOKEN.fullmatch(name[len(INSTANCE) :]))
    )


def check(name: str) -> str:
    """``name`` if it can be a layer's.

    Raises:
        InvalidLayer: it cannot.
    """
    if is_legal(name):
        return name
    raise InvalidLayer(name)


def order(name: str) -> tuple[int, str]:
    """Sorts layers: what comes later wins."""
    if name == GLOBAL:
        return 0, name
    if name == FLEET:
        return 1, name
    return (2 if name.startswith(GROUP) else 3), name


@dataclass(frozen=True, slots=True)
class Stored:
    """A layer as it is on the bus."""

    name: str
    layer: ConfigLayer
    revision: int
    """Stream sequence."""
    selector: Selector = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "selector", Selector.parse(self.layer.selector))


@dataclass(frozen=True, slots=True)
class Effective:
    """What some layers make together."""

    layers: tuple[Stored, ...]
    values: dict[str, Any]
    hash: str


class Layers:
    """All layers at one moment. Does not change; ``with_`` makes another.

    Args:
        stored: in any order.
        head: the commit that they come from, if they come from Git.
    """

    def __init__(self, stored: Iterable[Stored] = (), head: ConfigHead | None = None) -> None:
        ordered = sorted(stored, key=lambda one: order(one.name))
        self.stored: Mapping[str, Stored] = {one.name: one for one in ordered}
        self.head = head
        self._common = [one for one in ordered if not one.name.startswith(INSTANCE)]
        self._made: dict[tuple[str, ...], Effective] = {}

    @property
    def commit(self) -> str:
        """Of the head; empty without Git."""
        return "" if self.head is None else self.head.commit

    def of(
        self, agent: str, site: str, labels: Mapping[str, str], capabilities: Collection[str]
    ) -> Effective:
        """What an agent's configuration should be. Made once for all to whom the same layers
        apply."""
        applying = [
            one for one in self._common if one.selector.matches(agent, site, labels, capabilities)
        ]
        if (own := self.stored.get(INSTANCE + agent)) is not None:
            applying.append(own)
        names = tuple(one.name for one in applying)
        made = self._made.get(names)
        if made is None:
            values = merged(one.layer.values for one in applying)
            made = self._made[names] = Effective(tuple(applying), values, digest(values))
        return made
