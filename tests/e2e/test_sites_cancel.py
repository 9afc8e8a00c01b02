"""Cancellations and links: whoever runs it hears of it, at the latest when the link is back."""

from __future__ import annotations

from pathlib import Path

from bus import store
from bus.client.client import Client
from bus.testing import eventually
from bus.wire.result import Result
from tests.support.site_scene import Patient, scene


async def queued(client: Client) -> int:
    subjects = client.bus.subjects
    found = store.scan(client.bus, subjects.tasks_stream, subjects.tasks)
    return len([one async for one in found])


async def state(client: Client, task_id: str) -> str:
    found = await client.tasks.get(task_id)
    return found.state if isinstance(found, Result) else found


async def test_what_was_canceled_while_the_link_was_down_stops_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as one:
        patient = Patient("p1", "s1")
        await one.agent(one.there["s1"].url, patient.agent)
        await eventually(lambda: "p1" in one.sites.links["s1"].known.cards)
        runs = await one.above.submit("wait", {"text": "runs"}, select="site=s1")
        waits = [
            await one.above.submit("wait", {"text": f"waits {n}"}, select="site=s1")
            for n in range(20)
        ]
        stays = await one.above.submit("wait", {"text": "stays"}, select="site=s1")
        own = await one.below.submit("wait", {"text": "own"})
        await eventually(lambda: patient.begun == ["runs"])

        async def handed() -> bool:
            return await queued(one.below) == 23

        await eventually(handed)
        await one.cut()
        for handle in (runs, *waits):
            assert await one.above.cancel(handle.id)
        assert not patient.canceled
        await one.mend()
        await eventually(lambda: "runs" in patient.canceled)

        async def gone() -> bool:
            return await queued(one.below) == 2

        await eventually(gone)
        assert await state(one.below, runs.id) == "canceled"
        # In the slot that was free another may have begun before it was canceled, too.
        await eventually(lambda: set(patient.begun) - set(patient.canceled) <= {"own", "stays"})
        patient.go_on.set()
        assert await stays.result(timeout=8) == "stays at s1"
        assert await own.result(timeout=8) == "own at s1"
        assert set(patient.begun) - set(patient.canceled) == {"own", "stays"}
        await eventually(lambda: one.has(one.above, 23))
        assert max((await one.results(one.above)).values()) == 1


async def test_a_site_cancels_what_it_has_handed_up(tmp_path: Path) -> None:
    async with scene(tmp_path) as one:
        patient = Patient("p1")
        await one.agent(one.there.hub.url, patient.agent)
        runs = await one.below.submit("wait", {"text": "runs"})
        await eventually(lambda: patient.begun == ["runs"], timeout=10)
        waits = await one.below.submit("wait", {"text": "waits"})

        async def up() -> bool:
            return await queued(one.above) == 2

        await eventually(up, timeout=10)
        assert await one.below.cancel(waits.id)
        await one.cut()
        assert await one.below.cancel(runs.id)
        assert not patient.canceled
        await one.mend()
        await eventually(lambda: patient.canceled == ["runs"], timeout=8)

        async def gone() -> bool:
            return await queued(one.above) == 0

        await eventually(gone)
        assert [await state(one.above, task.id) for task in (runs, waits)] == ["canceled"] * 2
        # One that has not left yet does not come up any more.
        await one.cut()
        late = await one.below.submit("wait", {"text": "late"})
        assert await one.below.cancel(late.id)
        await one.mend()
        next_ = await one.below.submit("wait", {"text": "next"})
        patient.go_on.set()
        assert await next_.result(timeout=10) == "next at default"
        assert patient.begun == ["runs", "next"]
