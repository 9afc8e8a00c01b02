"""Payloads that cross a link: whole, or not at all."""

from __future__ import annotations

import pytest

from bus import Bus
from bus.errors import BusError
from bus.payloads import Payloads
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator.sites import cargo
from coordinator.sites.far import Far

ASK = "site.asked"


async def far(bus: Bus) -> Far:
    made = Far(bus, "$JS.API", bus.nc.new_inbox())
    await made.start()
    return made


def names(payload: str) -> Inbound:
    return Inbound("x", "", b"", h.encode([(h.PAYLOAD, payload)]))


async def answered(bus: Bus, *parts: bytes, **end: str) -> None:
    """The other side answers with these, and ends with these headers."""

    def answer(message: Inbound) -> None:
        for part in parts:
            bus.send(message.reply, part)
        fields = [(f"Fleet-{name.capitalize()}", value) for name, value in end.items()]
        bus.send(message.reply, b"", "", h.encode(fields))

    await bus.listen(ASK, answer)


async def test_what_is_sent_is_what_comes(bus: Bus) -> None:
    data = bytes(range(256)) * 5000
    await Payloads(bus).put("in-me.1", data)
    parts: list[Inbound] = []
    await bus.listen("parts", parts.append)
    await cargo.send(bus, "in-me.1", "parts", True)
    await bus.flush()
    *body, end = parts
    await answered(bus, *(one.data for one in body), size=h.find(end.block, h.SIZE))
    await cargo.fetch(bus, await far(bus), ASK, names("in-you.1"), "you.1")
    assert await Payloads(bus).get("in-you.1") == data


async def test_one_with_a_hole_is_not_stored(bus: Bus) -> None:
    await answered(bus, b"first", b"last", size="15")
    with pytest.raises(BusError, match="9 of 15 bytes"):
        await cargo.fetch(bus, await far(bus), ASK, names("in-me.1"), "me.1")
    with pytest.raises(BusError, match="cannot be fetched"):
        await Payloads(bus).get("in-me.1")


async def test_one_that_is_not_kept_is_left_out(bus: Bus) -> None:
    await answered(bus, error=cargo.MISSING)
    await cargo.fetch(bus, await far(bus), ASK, names("in-me.1"), "me.1")
    with pytest.raises(BusError, match="cannot be fetched"):
        await Payloads(bus).get("in-me.1")


@pytest.mark.parametrize("name", ["in-other.1", "out-other.1-17", "in-me.1x", "me.1", ""])
async def test_nobody_overwrites_the_payload_of_another_task(bus: Bus, name: str) -> None:
    await Payloads(bus).put("in-other.1", b"precious")
    await answered(bus, b"forged", size="6")
    await cargo.fetch(bus, await far(bus), ASK, names(name), "me.1")
    assert await Payloads(bus).get("in-other.1") == b"precious"


async def test_one_without_end_is_given_up(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cargo, "MOST", 1000)
    await answered(bus, *[b"x" * 100] * 11, size="1100")
    await cargo.fetch(bus, await far(bus), ASK, names("in-me.1"), "me.1")
    with pytest.raises(BusError, match="cannot be fetched"):
        await Payloads(bus).get("in-me.1")
