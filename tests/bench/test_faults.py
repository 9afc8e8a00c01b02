"""Faults that are made on purpose."""

from __future__ import annotations

import logging

import pytest

from bench.harness.faults import cut_connections, hushed
from bus import connect
from bus.server import NatsServer
from bus.testing import eventually


@pytest.mark.fault
async def test_every_connection_of_the_fleet_is_cut_and_comes_back() -> None:
    async with (
        NatsServer() as server,
        connect(server.url, "a") as one,
        connect(server.url, "b") as two,
    ):
        assert await cut_connections(server.system_url) == 2
        await eventually(lambda: one.generation == two.generation == 1)
        await one.flush()
        await two.flush()


def test_warnings_are_kept_back_and_errors_are_not(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("fleetbus.bus")
    with hushed():
        log.warning("on purpose")
        log.error("not on purpose")
    log.warning("afterwards")
    assert caplog.messages == ["not on purpose", "afterwards"]
