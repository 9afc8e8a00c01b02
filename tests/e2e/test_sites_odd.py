"""What comes across a link and cannot be used ends what it was about, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus import store
from bus.testing import eventually
from bus.transport import Inbound
from bus.wire import headers as h
from tests.support.site_scene import Scene, scene


async def fill(one: Scene, task_id: str, *fields: tuple[str, str]) -> None:
    """A task for the site that is as large as a message may be."""
    bus = one.above.bus
    block = h.encode([(h.CONTENT_TYPE, h.OCTETS), (h.SELECT, "site=s1"), *fields])
    data = b"x" * (bus.max_payload - len(block))
    await store.publish(bus, bus.subjects.task("echo", "p1", task_id), data, block)


def ended(one: Scene, task_id: str) -> Callable[[], Any]:
    async def check() -> bool:
        subjects = one.above.bus.subjects
        key = subjects.result(task_id)
        found = await store.last(one.above.bus, subjects.results_stream, key)
        return found is not None and h.find(found.block, h.STATE) in ("failed", "rejected")

    return check


@pytest.mark.parametrize("fields", [[(h.MSG_ID, "me.1")], []], ids=["on the way", "at the start"])
async def test_a_task_that_is_too_large_to_be_handed_over_ends(
    tmp_path: Path, fields: list[tuple[str, str]]
) -> None:
    """With the headers that the way adds it is larger than a server takes."""
    async with scene(tmp_path) as one:
        await fill(one, "me.1", *fields)
        await eventually(ended(one, "me.1"), timeout=8)
        handle = await one.above.submit("echo", {"text": "next"}, select="site=s1")
        assert await handle.result(timeout=8) == "next at s1"
        assert one.ran == ["next"]
        assert await one.results(one.above) == {"me.1": 1, handle.id: 1}


async def test_a_hub_that_talks_nonsense_does_not_silence_a_site(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        await one.staff.aclose()
        nonsense = 0

        def answer(message: Inbound) -> None:
            nonlocal nonsense
            nonsense += 1
            one.above.bus.send(message.reply, b'{"hub": 7, "policy": ["what?"]}')

        bus = one.above.bus
        subscription = await bus.listen(bus.subjects.site_reports, answer)
        await eventually(lambda: nonsense >= 2, timeout=8)
        await bus.unlisten(subscription)
        await one.restart()
        await eventually(lambda: one.uplink.connected, timeout=8)


async def test_reports_of_agents_with_names_that_are_none_write_nothing(tmp_path: Path) -> None:
    """A site's own people may write what they like into their registry, and reports are its
    coordinators' word."""
    async with scene(tmp_path) as one:
        forged = b"""{"site": "s1", "coordinator": "evil", "seq": 1, "next_in": 5, "full": true,
            "first": true, "last": true, "cards": [
            {"agent": "x 0\\r\\n\\r\\nPUB fleet.forged", "incarnation": "i", "site": "s1"},
            {"agent": "y", "incarnation": "i", "site": "s1",
             "capabilities": [{"name": "*.> 0\\r\\n"}]},
            {"agent": "good", "incarnation": "i", "site": "s1"}]}"""
        seen: list[str] = []
        await one.above.bus.listen("fleet.>", lambda message: seen.append(message.subject))
        one.below.bus.send(one.below.bus.subjects.site_report("s1"), forged)

        async def shown() -> bool:
            return "good" in {card.agent for card in await one.above.agents()}

        await eventually(shown)
        assert not [subject for subject in seen if "forged" in subject]
        assert not {"x", "y"} & set(one.sites.links["s1"].place.briefs)
        assert one.sites.links["s1"].place.capabilities <= {"echo"}
