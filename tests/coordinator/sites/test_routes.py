"""What becomes of messages that have crossed a link, whoever sent them."""

from __future__ import annotations

import pytest

from bus import sites
from bus.errors import BusError, DecodeError
from bus.subjects import Subjects
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from coordinator.sites import routes

SUBJECTS = Subjects("A")
OTHERS = {SUBJECTS.results_stream, SUBJECTS.sites_stream}
FORGED = [
    "$KV.CONFIG_A.policy",
    "$JS.API.STREAM.DELETE.TASKS_A",
    "fleet.A.cmd.all",
    "fleet.B.event.told.x",
    "fleet.A.event",
    "fleet.A.result.me.1.2",
    "fleet.A.task.echo.p1.me.1",
]


def message(subject: str, *fields: tuple[str, str]) -> Inbound:
    return Inbound(subject, "", b"{}", h.encode(fields))


@pytest.mark.parametrize("subject", FORGED)
def test_a_site_can_write_nothing_that_its_streams_do_not_hold(subject: str) -> None:
    forged = message(subject)
    with pytest.raises(DecodeError, match="is not"):
        routes.result(SUBJECTS, forged)
    with pytest.raises(DecodeError, match="is not"):
        routes.task(SUBJECTS, "s1", forged)
    for stream in set(sites.up_streams(SUBJECTS)) - OTHERS:
        with pytest.raises(DecodeError, match="is not"):
            routes.record(SUBJECTS, stream, "s1", forged, 1)


@pytest.mark.parametrize(
    ("stream", "subject"),
    [
        (SUBJECTS.events_stream, "fleet.A.event.site.connected.x"),
        (SUBJECTS.dead_stream, "fleet.A.dead.echo.me.1"),
        (SUBJECTS.audit_stream, "fleet.A.audit.ada.drain"),
        (SUBJECTS.telemetry_stream, "fleet.A.telemetry.s1.a1.heat"),
    ],
)
def test_records_keep_their_subjects(stream: str, subject: str) -> None:
    out = routes.record(SUBJECTS, stream, "s1", message(subject, ("Nats-Stream", "x")), 7)
    assert out.subject == subject
    assert h.decode(out.block) == {h.MSG_ID: f"s1:{stream}:7"}


def test_a_task_that_cannot_be_stored_has_failed() -> None:
    lost = message("fleet.A.site.s1.task.echo.p1.me.1")
    out = routes.failed(SUBJECTS, lost, BusError("too big"))
    assert out is not None
    assert out.subject == "fleet.A.result.me.1"
    fields = h.decode(out.block)
    assert fields[h.EXPECT_LAST_SUBJECT_SEQ] == "0"
    result = results.decode("me.1", fields, out.data)
    assert (result.state, result.error and result.error.kind) == ("failed", "Unstorable")
    assert routes.failed(SUBJECTS, message("fleet.A.>"), BusError("what?")) is None
