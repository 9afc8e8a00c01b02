"""Messages that nobody should ever send, for hypothesis to draw."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from bus.client.watch import TOPICS
from bus.wire import headers as h
from bus.wire.card import Card
from bus.wire.command import Command, Reply
from bus.wire.event import Event
from bus.wire.heartbeat import CoordinatorBeat, FleetPolicy, Heartbeat
from bus.wire.task import Progress

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, -1, "", "a1", "a b", "\x00", "x" * 70_000, "\n"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
STRUCTS = (Card, Command, CoordinatorBeat, Event, FleetPolicy, Heartbeat, Progress, Reply)
FIELDS = sorted({name for struct in STRUCTS for name in struct.__struct_fields__} - {"verb"})
"""But not ``verb``: a valid command is not garbage."""
NEAR = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=12)
"""Objects that look like ours."""


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return draw(st.binary(max_size=64))
    text = json.dumps(draw(NEAR | JSON)).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


OTHERS = {"Content-Type", "KV-Operation", "Nats-Marker-Reason", "Nats-Sequence", "Nats-Subject"}
OURS = {one for one in vars(h).values() if isinstance(one, str) and one.startswith("Fleet-")}
NAMES = sorted((OURS | OTHERS) - {h.SELECT, h.PAYLOAD})
"""Not the two over which a task waits or is tried again, as it should."""
VALUES = (
    st.binary(max_size=20)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [b"", b"echo", b"a1", b"raw.1", b"a b", b"1", b"-1", b"$JS.ACK.a b.c.1.1.1.1.1"]
    )
)


@st.composite
def blocks(draw: st.DrawFn) -> bytes | None:
    match draw(st.integers(0, 4)):
        case 0:
            return None
        case 1:
            # Not one byte: that kills nats-server itself (2.12.8, 2.15.1), if it is published to a
            # stream that republishes.
            return draw(st.binary(min_size=2, max_size=64))
        case 2:
            return b"NATS/1.0 %d gone\r\n\r\n" % draw(st.integers(0, 999))
        case _:
            chosen = draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6))
            lines = b"".join(b"%b: %b\r\n" % (n.encode(), v) for n, v in chosen)
            return b"NATS/1.0\r\n%b\r\n" % lines


TOKENS = st.sampled_from(["a1", "x", "echo", "p1", "raw", "all", "7", "-", "$", "x" * 100])
FIRST = st.sampled_from([*TOPICS, "due", "schedule"])


@st.composite
def places(draw: st.DrawFn) -> str:
    """A subject below the fleet, or with a leading ``>`` a subject of its own."""
    known = st.sampled_from(
        [
            "hb.default.a1",
            "advert.a1",
            "coordinator.c1",
            "coordinator.c2",
            "task.echo.p1.raw.1",
            "task.echo.p0.raw.2",
            "call.echo",
            "dispatch.a1",
            "done.{client}.1",
            "progress.{client}.1",
            "result.raw.1",
            "attempt.raw.1",
            "cancel.echo.raw.1",
            "cmd.all",
            "cmd.agent.a1",
            "cmd.cap.echo",
            "cmd.site.default",
            "config.policy",
            "event.lost.a1",
            "dead.echo.raw.1",
            ">$KV.CONFIG_{fleet}.policy",
            ">$KV.REGISTRY_{fleet}.x",
            ">fleet.sys.disconnect",
            ">$SRV.PING",
            ">$SRV.INFO.fleetbus-agent",
            ">{pulls}1",
            ">{refusals}1",
            ">{refusals}x",
        ]
    )
    if draw(st.integers(0, 3)):
        return draw(known)
    return ".".join([draw(FIRST), *draw(st.lists(TOKENS, min_size=1, max_size=5))])


GARBAGE = st.tuples(places(), bodies(), blocks(), st.sampled_from([b"", b"reply.to", b"\xff\xfe"]))
"""Place, body, header block, reply subject."""
