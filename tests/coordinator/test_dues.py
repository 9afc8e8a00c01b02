"""What becomes of a firing: the pure part. ``tests/bus/test_schedules.py`` has the rest."""

from __future__ import annotations

import pytest

from bus.errors import DecodeError, FleetError
from bus.wire import headers as h
from coordinator.dues import task_of

PREFIX = "fleet.dev.due."


def firing(*more: tuple[str, str]) -> bytes:
    return h.encode([("Fleet-Select", "gpu"), ("Nats-Scheduler", "s"), ("Nats-TTL", "1h"), *more])


def test_one_that_fires_once_keeps_its_id() -> None:
    block = firing(("Nats-Schedule-Next", "purge"))
    found = task_of(PREFIX, f"{PREFIX}echo.p1.me.7", block, 42)
    assert found[:3] == ("echo", "p1", "me.7")
    assert h.decode(found[3]) == {"Fleet-Select": "gpu", "Nats-Msg-Id": "me.7"}


@pytest.mark.parametrize("more", [(), (("Nats-Schedule-Next", "2026-11-21T04:34:57Z"),)])
def test_each_of_many_has_an_id_of_its_own(more: tuple[tuple[str, str], ...]) -> None:
    found = task_of(PREFIX, f"{PREFIX}echo.p0.me.7", firing(*more), 42)
    assert found[:3] == ("echo", "p0", "me.7-42")
    assert h.decode(found[3])["Nats-Msg-Id"] == "me.7-42"


@pytest.mark.parametrize(
    "subject",
    [
        "fleet.dev.due.echo.p1.me",
        "fleet.dev.due.echo.p9.me.7",
        "fleet.other.due.echo.p1.me.7",
        "fleet.dev.due.echo.p1.me.7.8",
        f"fleet.dev.due.{'x' * 65}.p1.me.7",
        "fleet.dev.due.echo.p1.m e.7",
    ],
)
def test_what_is_no_firing_is_refused(subject: str) -> None:
    with pytest.raises(FleetError):
        task_of(PREFIX, subject, firing(), 1)


def test_garbage_for_headers_is_refused() -> None:
    with pytest.raises(DecodeError):
        task_of(PREFIX, f"{PREFIX}echo.p1.me.7", b"\xff\r\n", 1)
