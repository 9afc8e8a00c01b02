"""Where each value of a configuration is from, and what it hid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bus.config.paths import Path

Entry = tuple[str, Any]
"""A layer's name, and the value that it has at some path."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A value that a later layer replaced or removed."""

    layer: str
    path: Path
    value: Any


@dataclass(frozen=True, slots=True)
class Setting:
    """One value: anything but a mapping with something in it."""

    path: Path
    value: Any
    layer: str
    """Name of the layer that set it, or that removed it."""
    hides: tuple[Hidden, ...] = ()
    """The latest first."""
    removed: bool = False
    """Nothing is there any more; ``value`` is None."""


def explain(layers: Iterable[Entry], under: Path = ()) -> list[Setting]:
    """Each value that ``layers`` (name and values, the later ones winning) make, by path; with
    what was removed and not set again. Pure.

    Args:
        under: only values at this path, below it, or above it.
    """
    found = _settings((), list(layers), ())
    related = (one for one in found if _related(one.path, under))
    return sorted(related, key=lambda one: one.path)


def _related(path: Path, under: Path) -> bool:
    return path[: len(under)] == under or under[: len(path)] == path


def _settings(
    path: Path, entries: Sequence[Entry], buried: tuple[Hidden, ...]
) -> Iterator[Setting]:
    """What ``entries`` make at ``path``; ``buried`` is what the mapping above them hid."""
    if not entries:
        return
    # The last value that is no mapping covers all before it; mappings after it are merged.
    flat = max((i for i, (_, one) in enumerate(entries) if not _is_mapping(one)), default=-1)
    mappings = entries[flat + 1 :]
    if not mappings:
        layer, value = entries[flat]
        hidden = (*_hidden(path, entries[:flat]), *buried)
        if value is not None or hidden:
            yield Setting(path, value, layer, hidden, removed=value is None)
        return
    buried = (*_hidden(path, entries[: flat + 1]), *buried)
    empty = True
    for name in dict.fromkeys(name for _, one in mappings for name in one):
        inner = [(layer, one[name]) for layer, one in mappings if name in one]
        for setting in _settings((*path, name), inner, buried):
            empty = empty and setting.removed
            yield setting
    if empty and path:
        yield Setting(path, {}, mappings[-1][0], buried)


def _hidden(path: Path, entries: Sequence[Entry]) -> Iterator[Hidden]:
    for layer, value in reversed(entries):
        for below, one in leaves(value, path):
            if one is not None:
                yield Hidden(layer, below, one)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Path and value of everything in ``value`` that is not a mapping with something in it."""
    if not _is_mapping(value) or (not value and path):
        yield path, value
        return
    for name, one in value.items():
        yield from leaves(one, (*path, name))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)
