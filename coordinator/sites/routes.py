"""What becomes of a message that has crossed a link. Pure."""

from __future__ import annotations

from bus import sites
from bus.errors import DecodeError
from bus.subjects import Subjects
from bus.transport import Inbound
from bus.wire import headers as h
from coordinator.sites.pump import Outgoing, Source


def kept(block: bytes, drop: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The headers that go on: what is the broker's own would be obeyed or refused again."""
    if not block:
        return []
    fields = h.decode(block)
    return [
        (name, value)
        for name, value in fields.items()
        if name == h.MSG_ID or (not name.startswith("Nats-") and name not in drop)
    ]


def record(stream: str, site: str, message: Inbound, sequence: int) -> Outgoing:
    """An event, an audit entry, a dead task, a reading: stored once, whoever moves it."""
    fields = kept(message.block)
    if not any(name == h.MSG_ID for name, _ in fields):
        fields.append((h.MSG_ID, f"{site}:{stream}:{sequence}"))
    return Outgoing(message.subject, message.data, h.encode(fields))


def result(message: Inbound) -> Outgoing:
    """A result: stored if there is none."""
    fields = [one for one in kept(message.block) if one[0] != h.MSG_ID]
    fields.append((h.EXPECT_LAST_SUBJECT_SEQ, "0"))
    return Outgoing(message.subject, message.data, h.encode(fields))


def task(subjects: Subjects, origin: str, message: Inbound) -> Outgoing:
    """A task that was handed over: an ordinary one from now on, that remembers where it is from.

    Raises:
        DecodeError: it is no such task.
    """
    parts = message.subject.split(".")
    if len(parts) != 9 or parts[2] != "site" or parts[4] != "task":
        raise DecodeError("task of a site", f"{message.subject[:200]!r} is not one")
    capability, priority, task_id = parts[5], parts[6], f"{parts[7]}.{parts[8]}"
    plain = subjects.task(capability, priority, task_id)
    subjects.parse_task(plain)
    fields = kept(message.block, (h.ORIGIN,))
    if not any(name == h.MSG_ID for name, _ in fields):
        fields.append((h.MSG_ID, task_id))
    # What it has passed stays known: it goes back to none of them.
    before = h.find(message.block, h.ORIGIN)
    fields.append((h.ORIGIN, f"{before},{origin}" if before else origin))
    return Outgoing(plain, message.data, h.encode(fields))


def source(subjects: Subjects, stream: str, site: str) -> Source:
    """A stream of ``site``, as the hub pulls it."""
    config = sites.consumer(subjects, stream, site)
    return Source(stream, config["durable_name"], config, config["ack_policy"] == "all")
