"""What a thing holds: tasks given to it and taken from it. Pure steps of its record."""

from __future__ import annotations

from typing import Final, Literal

from msgspec.structs import replace

from coordinator.things.record import Holding, Record, late, remembered

MAX_VIAS: Final = 16
"""Coordinators whose tasks are counted; the oldest counts go first."""

SHARE: Final = 0.2
"""Weight of one run in the moving geometric mean of run times."""

Taking = Literal["taken", "held", "stopped", "draining", "full", "capability"]
"""Taken now; held already, and answered with the newer ack from now on; or refused."""


def take(record: Record, task: str, job: Holding, now_ms: int) -> tuple[Record, Taking]:
    """A coordinator has forwarded a task or a call."""
    card = record.card
    if card is None or not record.online:
        return record, "stopped"
    if all(one.name != job.capability for one in card.capabilities):
        return record, "capability"
    twin = record.held.get(task)
    if twin is not None and twin.ack:
        newer = replace(twin, ack=job.ack, via=job.via)
        return _with(count(record, job.via), task, newer), "held"
    if late(record, now_ms):
        return record, "stopped"
    if record.draining or record.leaving:
        return record, "draining"
    if len(record.held) >= record.slots:
        return record, "full"
    return _with(count(record, job.via), task, job), "taken"


def count(record: Record, via: str) -> Record:
    """What a coordinator has forwarded is off its hands."""
    accepted = dict(record.accepted)
    accepted[via] = accepted.pop(via, 0) + 1
    while len(accepted) > MAX_VIAS:
        del accepted[next(iter(accepted))]
    return replace(record, accepted=accepted)


def knows(record: Record, task: str) -> bool:
    """True if a thing may say how ``task`` ended: it was given it."""
    return task in record.held or task in record.past


def end(
    record: Record, task: str, state: str = "", run_ms: float = 0.0
) -> tuple[Record, Holding | None]:
    """A task has ended, as ``state`` says, or was handed back (``state`` is empty); what was
    held of it, if it still was."""
    job = record.held.get(task)
    if job is None:
        return record, None
    held = {one: other for one, other in record.held.items() if one != task}
    changed = replace(record, held=held, past=remembered(record, {task: job}))
    if state:
        changed = replace(changed, done=record.done + 1, failed=record.failed + (state == "failed"))
    if state == "completed" and run_ms > 0:
        known = record.service_ms.get(job.capability, run_ms)
        mean = known ** (1 - SHARE) * run_ms**SHARE if known > 0 else run_ms
        changed = replace(changed, service_ms={**record.service_ms, job.capability: round(mean, 3)})
    return changed, job


def _with(record: Record, task: str, job: Holding) -> Record:
    return replace(record, held={**record.held, task: job})
