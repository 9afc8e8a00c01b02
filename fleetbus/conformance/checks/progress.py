"""Checks: progress."""

from __future__ import annotations

from bus import codec
from bus.errors import DecodeError
from bus.wire.task import Progress
from fleetbus.conformance.check import Failed, Topic, equal, holds
from fleetbus.conformance.checks.scenes import WORK
from fleetbus.conformance.given import Given
from fleetbus.conformance.stage import Stage

TOPIC = Topic("progress", WORK)
check = TOPIC.check

COUNT = 4


async def _progress(stage: Stage, given: Given) -> list[Progress]:
    await given.finished("completed")
    seen = stage.record.all(stage.subjects.progress(given.id), given.since)
    published = await given.published()
    late = [one for one in seen if one.number > published.number]
    holds(not late, "all progress before the result", f"{len(late)} after it")
    try:
        return [codec.decode(Progress, one.data) for one in seen]
    except DecodeError as problem:
        raise Failed("Progress", str(problem)) from None


@check("sent", "Progress is published in order, seq from 1, before the result.", "Progress")
async def sent(stage: Stage) -> None:
    given = await stage.coordinator.give("steps", {"count": COUNT})
    found = await _progress(stage, given)
    equal("seq", [one.seq for one in found], list(range(1, COUNT + 1)))
    equal("attempt", {one.attempt for one in found}, {1})
    equal("agent", {one.agent for one in found}, {stage.agent})
    fractions = [round(one.fraction * COUNT, 3) for one in found]
    equal("fraction, in parts of the whole", fractions, [float(n + 1) for n in range(COUNT)])


@check("attempt", "Progress says which attempt it is of, and counts anew in each.", "Progress")
async def attempt(stage: Stage) -> None:
    given = await stage.coordinator.give("steps", {"count": 2}, attempt=2)
    found = await _progress(stage, given)
    equal("attempt", {one.attempt for one in found}, {2})
    equal("seq", [one.seq for one in found], [1, 2])
