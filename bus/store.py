"""Small questions to a stream that need no consumer: direct gets and stored publishes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from nats.aio.subscription import Subscription

from bus import codec
from bus.connection import ApiError, Bus
from bus.errors import BusError, DecodeError, Disconnected, TopologyMissing
from bus.payloads import Payloads
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from bus.wire.task import ErrorInfo

T = TypeVar("T")

RETRIES: Final = 5

ELECTION_PAUSE: Final = 0.25
"""Seconds before a stream that nobody answers for is asked again."""

MULTI_LAST: Final = 1024
"""Subjects for which the server answers at once."""

MAX_VALUE: Final = 256
"""Characters of a header of a dead task that came with it."""


class TooManySubjects(BusError):
    """The server does not answer for so many subjects at once."""


async def last(bus: Bus, stream: str, subject: str) -> Inbound | None:
    """The newest message on ``subject``, or None. Any replica may answer, a little behind.

    Raises:
        TopologyMissing: there is no such stream.
        TimeoutError, Disconnected: as for ``Bus.request``.
    """
    message = await bus.request(f"$JS.API.DIRECT.GET.{stream}.{subject}")
    return _found(bus, stream, message)


async def at(bus: Bus, stream: str, sequence_: int) -> Inbound | None:
    """The message at a sequence, or None if it is gone. Any replica may answer, a little behind.

    Raises:
        TopologyMissing: there is no such stream.
        TimeoutError, Disconnected: as for ``Bus.request``.
    """
    question = codec.encode({"seq": sequence_})
    return _found(bus, stream, await bus.request(f"$JS.API.DIRECT.GET.{stream}", question))


async def lasts(bus: Bus, stream: str, subjects: Sequence[str], up_to: int = 0) -> list[Inbound]:
    """The newest message on each subject that matches one of ``subjects`` (wildcards allowed),
    oldest first.

    It is the state at one moment: now, or when the stream's last sequence was ``up_to``. The
    server answers for 1,024 subjects at most.

    Raises:
        TopologyMissing: there is no such stream.
        TooManySubjects: more match.
        TimeoutError, Disconnected: as for ``Bus.request``.
    """
    pages = _Pages(bus, stream)
    async with pages:
        question = {"multi_last": list(subjects), "batch": MULTI_LAST}
        pages.ask({**question, "up_to_seq": up_to} if up_to else question)
        page, _ = await pages.next()
        return page


async def scan(
    bus: Bus, stream: str, subject: str, batch: int = 512, start: int = 1
) -> AsyncIterator[Inbound]:
    """All stored messages on ``subject`` (wildcards allowed) from sequence ``start`` on, oldest
    first.

    Each has the headers ``Nats-Subject`` and ``Nats-Sequence``. Makes no consumer, so ten
    thousand agents may do this at once.

    Raises:
        TopologyMissing: there is no such stream.
        TimeoutError, Disconnected: as for ``Bus.request``.
    """
    pages = _Pages(bus, stream)
    question = {"next_by_subj": subject, "batch": batch}
    async with pages:
        pages.ask({"seq": start, **question})
        while True:
            page, left = await pages.next()
            # A page of big messages is shorter than ``batch``: the server bounds its bytes, too.
            more = bool(page) and left
            if more:
                # The server looks for the next while the caller deals with this one.
                pages.ask({"seq": sequence(page[-1]) + 1, **question})
                await asyncio.sleep(0)
            for message in page:
                yield message
            if not more:
                return


def sequence(message: Inbound) -> int:
    """Where a message stands in its stream, as the server says in a direct get or when it
    republishes.

    Raises:
        DecodeError: it does not say so.
    """
    found = h.find(message.block, "Nats-Sequence")
    if not found.isdigit():
        raise DecodeError("stored message", f"{message.subject[:200]!r} has no Nats-Sequence")
    return int(found)


class _Pages:
    """Asks for stored messages, a page at a time."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus = bus
        self._stream = stream
        self._inbox = bus.nc.new_inbox()
        self._page: list[Inbound] = []
        self._done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._subscription = await self._bus.listen(self._inbox, self._on_message)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._subscription is not None:
            await self._bus.unlisten(self._subscription)

    def ask(self, body: dict[str, Any]) -> None:
        """For the page that a direct get with ``body`` brings."""
        self._page = []
        self._done = asyncio.get_running_loop().create_future()
        self._bus.send(f"$JS.API.DIRECT.GET.{self._stream}", codec.encode(body), self._inbox)

    async def next(self) -> tuple[list[Inbound], bool]:
        """The page that was asked for, and whether there are more.

        Raises:
            TopologyMissing, BusError: the server refused.
            TimeoutError: it did not answer.
        """
        try:
            async with asyncio.timeout(self._bus.settings.request_timeout):
                left = await self._done
        except TimeoutError:
            raise TimeoutError(f"stream {self._stream} did not answer a direct get") from None
        return self._page, left

    def _on_message(self, message: Inbound) -> None:
        if self._done.done():
            return
        if not message.status:
            self._page.append(message)
        elif message.status in ("204", "404"):
            self._done.set_result(message.headers.get("Nats-Num-Pending", "0") != "0")
        else:
            self._done.set_exception(_refusal(self._bus, self._stream, message))


def _found(bus: Bus, stream: str, message: Inbound) -> Inbound | None:
    if not message.status:
        return message
    if message.status == "404":
        return None
    raise _refusal(bus, stream, message)


def _refusal(bus: Bus, stream: str, message: Inbound) -> BusError:
    if message.status == "503":
        return TopologyMissing(bus.subjects.fleet)
    if message.status == "413":
        return TooManySubjects(f"stream {stream} has more than {MULTI_LAST} subjects that match")
    return BusError(f"direct get from {stream} was refused: {message.block[9:80]!r}")


async def publish(bus: Bus, subject: str, data: bytes, block: bytes = b"") -> dict[str, Any]:
    """Publish into a stream and return its acknowledgement once stored.

    Tried again when the connection breaks, so make it idempotent with ``Nats-Msg-Id`` or an
    expected sequence. Tried again for a second too when nobody answers for the stream: that is
    so while a cluster elects its leader.

    Raises:
        ApiError: the stream refused it; ``code`` says why.
        TopologyMissing: no stream takes this subject.
        Disconnected: not stored, as far as is known, after several tries.
    """

    async def once() -> dict[str, Any]:
        return acknowledgement(bus, subject, await bus.request(subject, data, block))

    return await patiently(once, f"{subject} was not stored")


async def patiently(ask: Callable[[], Awaitable[T]], failed: str) -> T:
    """What ``ask`` gives, asked again when the connection breaks, and for a second when nobody
    answers for a stream, as while a cluster elects its leader.

    Args:
        ask: must be safe to repeat.
        failed: begins the message of ``Disconnected``.

    Raises:
        TopologyMissing, ApiError: as ``ask`` does.
        Disconnected: several tries have failed.
    """
    problem: Exception | None = None
    for _ in range(RETRIES):
        try:
            return await ask()
        except (TimeoutError, Disconnected) as error:
            problem = error
        except TopologyMissing as error:
            problem = error
            await asyncio.sleep(ELECTION_PAUSE)
    if isinstance(problem, TopologyMissing):
        raise problem
    raise Disconnected(f"{failed}: {problem}")


def acknowledgement(bus: Bus, subject: str, message: Inbound) -> dict[str, Any]:
    """Read a stream's answer to a publish.

    Raises:
        ApiError, TopologyMissing: as for ``publish``.
    """
    if message.status == "503":
        raise TopologyMissing(bus.subjects.fleet)
    return ApiError.unless_refused(f"publish to {subject}", message.data)


async def conclude(bus: Bus, result: Result) -> bool:
    """Write a task's result; False if there was one already, which counts. Safe to repeat.

    Raises:
        BusError: as for ``publish``.
    """
    block = results.encode(result, once=True)
    try:
        await publish(bus, bus.subjects.result(result.task), result.output, block)
    except ApiError as error:
        if error.code == ApiError.WRONG_LAST_SEQUENCE:
            return False
        raise
    return True


async def bury(
    bus: Bus,
    capability: str,
    task_id: str,
    data: bytes,
    error: ErrorInfo,
    *,
    attempt: int,
    agent: str = "",
    content_type: str = h.JSON,
    payload: str = "",
) -> None:
    """Keep a dead task, with its input and the reason, for an operator. Safe to repeat.

    Raises:
        BusError: as for ``publish``.
    """
    fields = [
        (h.MSG_ID, f"dead-{task_id}"),
        # What a task came with may be anything; what is too long for a header was of no use.
        (h.CONTENT_TYPE, content_type[:MAX_VALUE]),
        (h.ERROR, results.error_json(error)),
        (h.ATTEMPT, str(attempt)),
    ]
    if agent:
        fields.append((h.AGENT, agent[:MAX_VALUE]))
    payloads = Payloads(bus)
    if payloads.too_big(data):
        payload, data = await payloads.put(f"dead-{task_id}", data), b""
    if payload:
        fields.append((h.PAYLOAD, payload[:MAX_VALUE]))
    await publish(bus, bus.subjects.dead(capability, task_id), data, h.encode(fields))
