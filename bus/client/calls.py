"""Calls: low latency, routed by load, not stored."""

from __future__ import annotations

import time
from typing import Any, Unpack

import msgspec

from bus.client.options import TaskOptions, deadline_ms, encode_input, header_fields
from bus.connection import Bus
from bus.errors import NoCoordinator, TaskRejected, TaskTimeout
from bus.payloads import Payloads
from bus.subjects import token
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result


class Calls:
    """The call side of a client."""

    def __init__(self, bus: Bus, client: str, payloads: Payloads | None = None) -> None:
        self._bus = bus
        self._client = client
        self._seq = 0
        self._payloads = payloads or Payloads(bus)

    async def call(
        self,
        capability: str,
        value: Any = None,
        *,
        timeout: float = 10.0,
        kind: Any = Any,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Have a capability run now and return its output, decoded as ``kind``.

        Nothing is stored and nothing is tried twice: if the agent dies, the call times out.

        Raises:
            NoCoordinator: nobody routes calls in this fleet.
            TaskTimeout: no answer within ``timeout`` seconds.
            TaskFailed, TaskRejected, TaskExpired, NoAgent: it did not complete.
            DecodeError: the output is not a ``kind``.
            BusError: an input or output too big for a message cannot be stored or fetched.
        """
        result = await self.outcome(capability, value, timeout=timeout, **options)
        return result.value(kind)

    async def outcome(
        self,
        capability: str,
        value: Any = None,
        *,
        timeout: float = 10.0,
        **options: Unpack[TaskOptions],
    ) -> Result:
        """Like ``call``, but return the result however it ended."""
        token("capability", capability)
        data, content_type = encode_input(value, options.get("content_type"))
        for name in ("key", "max_attempts", "priority"):
            if name in options:
                raise TaskRejected("", f"a call takes no {name}: use submit", field=name)
        self._seq += 1
        task_id = f"{self._client}.call-{self._seq}"
        fields = header_fields(options, content_type)
        if not deadline_ms(options):
            fields.append((h.DEADLINE, str(int((time.time() + timeout) * 1000))))
        fields.append((h.CALLER, self._client))
        if self._payloads.too_big(data):
            fields.append((h.PAYLOAD, await self._payloads.put(f"in-{task_id}", data)))
            data = b""
        try:
            answer = await self._bus.request(
                self._bus.subjects.call(capability), data, h.encode(fields), timeout
            )
        except TimeoutError:
            raise TaskTimeout(task_id, f"{capability} did not answer in {timeout:g} s") from None
        if answer.status == "503":
            raise NoCoordinator(
                task_id,
                f"no coordinator routes calls in fleet {self._bus.subjects.fleet!r}: "
                "start one with 'fleetbus coordinator'",
            )
        result = results.read(task_id, answer.block, answer.data)
        if result.payload:
            output = await self._payloads.get(result.payload)
            result = msgspec.structs.replace(result, output=output, payload="")
        return result
