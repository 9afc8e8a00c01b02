"""How a site asks for the results of what it has handed up."""

from __future__ import annotations

import pytest

from bus import Bus, codec, store
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.site import SiteWants
from coordinator.sites import debts, handed
from coordinator.sites.debts import Debts


async def nothing(_: Inbound) -> None:
    """There are no payloads here."""


class Asked:
    """What a site asks for."""

    def __init__(self, bus: Bus) -> None:
        self.debts = Debts(bus, "s1", nothing)
        self._bus = bus
        self._heard: list[tuple[str, ...]] = []

    async def start(self) -> None:
        await self._bus.listen(self._bus.subjects.site_wants("s1"), self._note)

    async def now(self) -> list[str]:
        self._heard.clear()
        self.debts.ask("answers")
        await self._bus.flush()
        return [task for tasks in self._heard for task in tasks]

    def _note(self, message: Inbound) -> None:
        self._heard.append(codec.decode(SiteWants, message.data).tasks)


async def test_each_is_asked_for_once_a_round(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debts, "AT_ONCE", 4)
    asked = Asked(bus)
    await asked.start()
    assert not await asked.now()
    for n in range(10):
        asked.debts.add(f"me.{n}")
    rounds = [await asked.now() for _ in range(4)]
    assert [len(one) for one in rounds] == [4, 4, 2, 0]
    assert sorted(task for one in rounds for task in one) == [f"me.{n}" for n in range(10)]
    asked.debts.add("me.10")
    assert await asked.now() == ["me.10"], "the others stand"
    asked.debts.again()
    assert [len(await asked.now()) for _ in range(4)] == [4, 4, 3, 0]
    monkeypatch.setattr(debts, "EVERY", 0.0)
    monkeypatch.setattr(asked.debts, "_at", 0.0)
    assert await asked.now() == ["me.0", "me.1", "me.2", "me.3"], "the next round"


async def test_what_has_come_is_not_asked_for(bus: Bus) -> None:
    asked = Asked(bus)
    await asked.start()
    mark = h.encode([(h.ATTEMPT, "0"), (h.SITE, "hub")])
    for n in range(2):
        await store.publish(bus, bus.subjects.attempt(f"me.{n}"), b"", mark)
    await asked.debts.read()
    told = h.encode([(h.STATE, "completed"), (h.TASK, "me.0")])
    await asked.debts.take(Inbound("answers", "", b"1", told))
    assert await asked.now() == ["me.1"]
    other = Debts(bus, "s1", nothing)
    await other.read()
    assert list(other.open) == ["me.1"], "a coordinator that starts anew knows the same"


async def test_a_result_that_is_too_big_here_ends_its_task(bus: Bus) -> None:
    """The hub's server may take larger messages than the site's."""
    asked = Asked(bus)
    asked.debts.add("me.0")
    told = h.encode([(h.STATE, "completed"), (h.TASK, "me.0")])
    body = b"x" * (bus.max_payload + 1)
    await asked.debts.take(Inbound("answers", "", body, told))
    stored = await store.last(bus, bus.subjects.results_stream, bus.subjects.result("me.0"))
    assert stored is not None
    end = results.read("me.0", stored.block, stored.data)
    assert (end.state, end.error and end.error.kind) == ("failed", "Unstorable")
    assert not asked.debts.open


async def test_many_that_were_handed_up_are_found_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed, "AT_ONCE", 3)
    for n in range(10):
        side = "hub" if n != 7 else "s2"
        mark = h.encode([(h.ATTEMPT, "0"), (h.SITE, side)])
        await store.publish(bus, bus.subjects.attempt(f"me.{n}"), b"", mark)
    # An attempt that began here says nothing of a side.
    await store.publish(bus, bus.subjects.attempt("me.10"), b"", h.encode([(h.ATTEMPT, "1")]))
    for n in (0, 4, 9):
        assert await store.conclude(bus, Result(f"me.{n}", "completed"))
    asked = Asked(bus)
    await asked.debts.read()
    assert list(asked.debts.open) == [f"me.{n}" for n in (1, 2, 3, 5, 6, 8)]
