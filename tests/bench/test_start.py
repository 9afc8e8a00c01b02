"""The scenario ``start``, small."""

from __future__ import annotations

import pytest

from bench.harness.figures import at_most
from tests.support.scenarios import figure, smoke, value

pytestmark = pytest.mark.slow


async def test_every_kind_of_process_is_started_and_weighed() -> None:
    session = await smoke("start")
    for kind in ("agent", "coordinator", "client", "CLI", "nats-server", "bare nats-py"):
        assert value(session, "ready after", kind) > 0
        # The floor of the floor: an empty Python has more than five.
        assert value(session, "resident memory", kind) > 5
    assert value(session, "first heartbeat after", "agent") > 0
    assert figure(session, "resident memory", "agent").target == at_most(40)
    assert value(session, "resident memory", "agent / bare nats-py") > 0
