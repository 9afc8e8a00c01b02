"""Who is in the fleet: the registry, read without a consumer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from bus import store
from bus.client import brief, links
from bus.client.brief import Brief
from bus.connection import ApiError, Bus
from bus.errors import DecodeError, NoAgent
from bus.selectors import Selector
from bus.transport import Inbound
from bus.wire import card as cards_
from bus.wire import headers as h
from bus.wire.card import Card

PAGE: Final = 4096
"""Entries asked for at once: each question costs the server a look at the whole registry."""

REASON: Final = "Fleet-Reason"
"""Header of the mark of an agent that is gone: ``lost`` if it did not leave by itself."""

MARK_TTL: Final = 60
"""Seconds that the mark of an agent that is gone is kept for those who look late."""

_OPERATION: Final = b"\r\nKV-Operation:"


def entries(bus: Bus) -> AsyncIterator[Inbound]:
    """All that is stored, as from ``store.scan``; the marks of agents that are gone, too."""
    # There is nothing but agents in that stream, and the server is twice as fast where it need
    # not compare subjects.
    return store.scan(bus, bus.subjects.registry_stream, ">", PAGE)


async def cards(bus: Bus, select: str = "") -> AsyncIterator[Card]:
    """The cards of all agents whose lease is in force and that match ``select``, each once.

    Raises:
        InvalidSelector: the selector cannot be parsed.
        TopologyMissing: this fleet does not exist here.
    """
    selector = Selector.parse(select)
    seen: set[str] = set()
    async for message in entries(bus):
        card = read(bus, message)
        # One that renews its lease meanwhile comes again, further back in the stream.
        if card is None or card.agent in seen:
            continue
        seen.add(card.agent)
        if matches(selector, card):
            yield card


async def briefs(bus: Bus, select: str = "") -> AsyncIterator[Brief]:
    """As ``cards``, in brief, for those who look at many.

    Raises:
        InvalidSelector: the selector cannot be parsed.
        TopologyMissing: this fleet does not exist here.
    """
    selector = Selector.parse(select)
    seen: set[str] = set()
    async for message in entries(bus):
        if not is_card(message):
            continue
        try:
            one = brief.decode(message.data)
        except DecodeError as problem:
            bus.drop(message.subject, problem)
            continue
        if one.agent in seen:
            continue
        seen.add(one.agent)
        if one.matches(selector):
            yield one


def is_card(message: Inbound) -> bool:
    """False for a registry entry that marks an agent as gone."""
    return bool(message.data) and _OPERATION not in message.block


def read(bus: Bus, message: Inbound) -> Card | None:
    """The card in a registry entry; None if it is a marker of one that is gone, or garbage."""
    if not is_card(message):
        return None
    try:
        return cards_.decode(message.data)
    except DecodeError as problem:
        # Somebody wrote into the bucket by hand: count it, show the others.
        bus.drop(message.subject, problem)
        return None


def matches(selector: Selector, card: Card) -> bool:
    """True if an agent with this card matches."""
    return selector.matches(
        card.agent, card.site, card.labels, [one.name for one in card.capabilities]
    )


async def card(bus: Bus, agent: str) -> Card | None:
    """One agent's card, or None.

    Raises:
        TopologyMissing: this fleet does not exist here.
    """
    subjects = bus.subjects
    message = await store.last(bus, subjects.registry_stream, subjects.registry_keys + agent)
    return None if message is None else read(bus, message)


async def remove(bus: Bus, agent: str, revision: int, reason: str = "") -> None:
    """Mark an agent as gone, unless its entry is another by now: whoever wrote that is there.

    Args:
        revision: of the entry, as far as the caller knows; 0 if there was none: nothing is done.
        reason: ``lost`` if it did not leave by itself.

    Raises:
        BusError: as for ``store.publish``.
    """
    if not revision:
        return
    fields = [
        ("KV-Operation", "DEL"),
        (h.TTL, f"{MARK_TTL}s"),
        (h.EXPECT_LAST_SUBJECT_SEQ, str(revision)),
    ]
    if reason:
        fields.append((REASON, reason))
    try:
        await store.publish(bus, bus.subjects.registry_keys + agent, b"", h.encode(fields))
    except ApiError as error:
        if error.code != ApiError.WRONG_LAST_SEQUENCE:
            raise


async def offers(bus: Bus, capability: str, select: str = "") -> bool:
    """True if an agent that matches ``select`` offers ``capability`` now.

    Raises:
        NoAgent: only agents of sites do whose link is down; the message names these.
    """
    relays: set[str] = set()
    async for one in cards(bus, select):
        if any(c.name == capability for c in one.capabilities):
            if not one.relay:
                return True
            relays.add(one.relay)
    gone = relays & (await links.away(bus)).keys() if relays else set()
    if gone and gone == relays:
        few = ", ".join(sorted(gone)[:5])
        raise NoAgent(
            "",
            f"only agents of sites that are away offer {capability!r}: {few} "
            "('fleetbus site list' says since when)",
        )
    return bool(relays)
