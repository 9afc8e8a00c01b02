"""What most readers ask of an agent card: who it is, and whether it matches.

A hundred thousand agents mostly say the same of themselves. Of a card of 900 bytes they have
the id and the incarnation for themselves; labels and capabilities are kept once for all that
spell them alike, and descriptions and schemas are skipped.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from bus import codec
from bus.errors import DecodeError
from bus.selectors import Selector
from bus.subjects import TOKEN
from bus.wire.card import Card, Slots

SHARED: Final = 8192
"""Spellings remembered of labels, of capabilities and of sites. Further ones are kept with each
agent."""

SMALL: Final = 16 * 1024
"""Bytes of the longest spelling that is remembered: schemas may be of any size."""


class Brief(msgspec.Struct, frozen=True, gc=False):
    """One agent's card, in brief."""

    agent: str
    incarnation: str
    site: str
    labels: dict[str, str]
    slots: int
    capabilities: tuple[str, ...]
    """By name, each once."""
    relay: str = ""
    """The site through whose link it is reached."""

    def matches(self, selector: Selector) -> bool:
        """True if this agent is meant."""
        return selector.matches(self.agent, self.site, self.labels, self.capabilities)

    @classmethod
    def of(cls, card: Card) -> Brief:
        """The same of a whole card."""
        names = tuple(dict.fromkeys(one.name for one in card.capabilities))
        who = (card.agent, card.incarnation, card.site)
        return cls(*who, card.labels, card.slots, names, card.relay)


class _Wire(msgspec.Struct, frozen=True):
    agent: str
    incarnation: str
    site: str = "default"
    labels: msgspec.Raw = msgspec.Raw(b"{}")
    slots: Slots = 1
    capabilities: msgspec.Raw = msgspec.Raw(b"[]")
    relay: str = ""


class _Capability(msgspec.Struct, frozen=True):
    name: str


def decode(data: bytes) -> Brief:
    """Read a registry entry.

    Raises:
        DecodeError: it is not a card, or has a name that cannot be part of a subject.
    """
    wire = codec.decode(_Wire, data, "agent card")
    return Brief(
        _legal(wire.agent),
        wire.incarnation,
        _site(wire.site),
        _labels(bytes(wire.labels)),
        wire.slots,
        _names(bytes(wire.capabilities)),
        wire.relay,
    )


def _labels(raw: bytes) -> dict[str, str]:
    return _read_labels(raw) if len(raw) <= SMALL else _read_labels.__wrapped__(raw)


def _names(raw: bytes) -> tuple[str, ...]:
    return _read_names(raw) if len(raw) <= SMALL else _read_names.__wrapped__(raw)


@lru_cache(SHARED)
def _site(name: str) -> str:
    return _legal(name)


@lru_cache(SHARED)
def _read_labels(raw: bytes) -> dict[str, str]:
    return codec.decode(dict[str, str], raw, "labels of an agent card")


@lru_cache(SHARED)
def _read_names(raw: bytes) -> tuple[str, ...]:
    offers = codec.decode(tuple[_Capability, ...], raw, "capabilities of an agent card")
    return tuple(dict.fromkeys(_legal(one.name) for one in offers))


def _legal(name: str) -> str:
    if not TOKEN.fullmatch(name):
        raise DecodeError("agent card", f"{name[:80]!r} is not a legal name")
    return name
