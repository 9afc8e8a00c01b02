"""A task or call that a coordinator has forwarded, as a thing is sent it. Pure."""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from bus import acks, codec
from bus.errors import DecodeError, FleetError, InvalidName
from bus.subjects import TASK_ID
from bus.transport import Inbound
from bus.wire import headers as h
from bus.wire.task import ErrorInfo
from bus.wire.thing import MAX_TASK, ThingTask
from coordinator.things.record import Holding

DEFAULT_MAX_ATTEMPTS: Final = 3


class Unfit(FleetError):
    """A task cannot be sent to a device. ``error`` says why."""

    def __init__(self, error: ErrorInfo) -> None:
        self.error = error
        super().__init__(error.message)


class Errand:
    """What a thing is to do."""

    def __init__(self, message: Inbound, now_ms: int) -> None:
        """Read a dispatch.

        Raises:
            DecodeError: a header is missing or holds what it must not.
        """
        fields = message.headers
        try:
            self.task = fields[h.TASK]
            if not TASK_ID.fullmatch(self.task):
                raise InvalidName("task id (two names joined by a dot)", self.task)
            ack, reply = fields.get(h.ACK, ""), fields.get(h.REPLY, "")
            job = Holding(
                capability=fields[h.CAPABILITY],
                taken_ms=now_ms,
                sent_ms=now_ms,
                attempt=int(fields.get(h.ATTEMPT, "1")),
                max_attempts=int(fields.get(h.MAX_ATTEMPTS, DEFAULT_MAX_ATTEMPTS)),
                ack=ack,
                reply=reply,
                via=fields.get(h.VIA, "")[:64],
                deadline_ms=int(fields.get(h.DEADLINE, "0")),
            )
        except (KeyError, ValueError, OverflowError, InvalidName) as problem:
            raise DecodeError("dispatch", f"bad or missing header: {problem}") from None
        # One token: a blank would make two of it in what we send there.
        if len((ack or reply).split()) != 1 or (ack and reply):
            raise DecodeError("dispatch", f"neither a good {h.ACK} nor a good {h.REPLY}")
        if ack:
            stored_ms = acks.parse(ack).stored_ns / 1e6
            job = msgspec.structs.replace(job, queued_ms=round(max(0.0, now_ms - stored_ms), 3))
        self.job = job
        self._content_type = fields.get(h.CONTENT_TYPE, h.JSON)
        self._payload = fields.get(h.PAYLOAD, "")
        self._data = message.data

    @classmethod
    def stored(cls, task: str, job: Holding, message: Inbound) -> Errand:
        """The same of what is stored of a task.

        Raises:
            DecodeError: its headers are no headers.
        """
        made = cls.__new__(cls)
        made.task, made.job = task, job
        fields = message.headers
        made._content_type = fields.get(h.CONTENT_TYPE, h.JSON)
        made._payload = fields.get(h.PAYLOAD, "")
        made._data = message.data
        return made

    def body(self, most: int = MAX_TASK) -> ThingTask:
        """What the device is sent; the boot is still missing. ``most`` is the bytes that its input
        may have.

        Raises:
            Unfit: it is too big, or is no JSON and says that it is.
        """
        size = len(self._data)
        if self._payload or size > most:
            much = "more than fits a message" if self._payload else f"{size} bytes"
            raise Unfit(
                ErrorInfo(f"its input has {much}, and a thing takes {most}", "InvalidInput")
            )
        job = self.job
        body = ThingTask(
            self.task,
            "",
            job.capability,
            job.attempt,
            deadline_ms=job.deadline_ms,
        )
        if self._content_type != h.JSON:
            text = base64.b64encode(self._data).decode()
            kind = self._content_type[:100]
            return msgspec.structs.replace(body, input_base64=text, content_type=kind)
        if not self._data:
            return body
        try:
            # As it came, once it is clear that it would not break the body around it.
            raw = codec.decode(msgspec.Raw, self._data, "input")
        except DecodeError as problem:
            raise Unfit(ErrorInfo(str(problem), "InvalidInput")) from None
        return msgspec.structs.replace(body, input=raw)
