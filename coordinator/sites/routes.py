"""What becomes of a message that has crossed a link. Pure."""

from __future__ import annotations

from bus import sites
from bus.errors import DecodeError
from bus.subjects import TASK_ID, Subjects
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo
from coordinator.sites.session import Outgoing, Source


def task_id(subject: str) -> str:
    """What ends the subject of a task, its result or a cancellation."""
    return ".".join(subject.rsplit(".", 2)[1:])


def check(pattern: str, subject: str) -> None:
    """What comes from a stream over there is on a subject of that stream, if the server there is
    honest. Another one would be written here with our rights.

    Raises:
        DecodeError: it is not.
    """
    want, have = pattern.split("."), subject.split(".")
    if want[-1] == ">" and len(have) >= len(want):
        want, have = want[:-1], have[: len(want) - 1]
    if len(want) != len(have) or not all(a in ("*", b) for a, b in zip(want, have, strict=True)):
        raise DecodeError("message across a link", f"{subject[:200]!r} is not {pattern}")


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


def record(subjects: Subjects, stream: str, site: str, message: Inbound, sequence: int) -> Outgoing:
    """An event, an audit entry, a dead task, a reading: stored once, whoever moves it.

    Raises:
        DecodeError: it is none of ``stream``.
    """
    patterns = {
        subjects.events_stream: subjects.events,
        subjects.dead_stream: subjects.deads,
        subjects.audit_stream: subjects.audits,
        subjects.telemetry_stream: subjects.telemetries,
    }
    check(patterns[stream], message.subject)
    fields = kept(message.block)
    if not any(name == h.MSG_ID for name, _ in fields):
        fields.append((h.MSG_ID, f"{site}:{stream}:{sequence}"))
    return Outgoing(message.subject, message.data, h.encode(fields))


def result(subjects: Subjects, message: Inbound) -> Outgoing:
    """A result: stored if there is none.

    Raises:
        DecodeError: it is no result.
    """
    check(subjects.results, message.subject)
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
    name = task_id(message.subject)
    plain = subjects.task(parts[5], parts[6], name)
    subjects.parse_task(plain)
    fields = kept(message.block, (h.ORIGIN,))
    if not any(name == h.MSG_ID for name, _ in fields):
        fields.append((h.MSG_ID, name))
    # What it has passed stays known: it goes back to none of them.
    before = h.find(message.block, h.ORIGIN)
    fields.append((h.ORIGIN, f"{before},{origin}" if before else origin))
    return Outgoing(plain, message.data, h.encode(fields))


def failed(subjects: Subjects, message: Inbound, problem: Exception) -> Outgoing | None:
    """What to store of a task or a result that cannot be stored on this side, for example because
    the server here takes only smaller ones: that the task has failed. None if it names none."""
    name = task_id(message.subject)
    if not TASK_ID.fullmatch(name):
        return None
    block = results.encode(unstorable(name, problem), once=True)
    return Outgoing(subjects.result(name), b"", block)


def unstorable(name: str, problem: Exception) -> Result:
    """The end of a task of which something never can be stored on this side."""
    error = ErrorInfo(f"it could not cross the link: {problem}", "Unstorable")
    return Result(name, "failed", error=error)


def source(subjects: Subjects, stream: str, site: str) -> Source:
    """A stream of ``site``, as the hub pulls it."""
    config = sites.consumer(subjects, stream, site)
    return Source(stream, config["durable_name"], config, config["ack_policy"] == "all")
