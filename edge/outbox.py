"""What must reach the broker although the link or the power is lost: results and readings.

Results are kept when the broker does not take them at once, and forgotten when it has. Readings
go straight to the broker while nothing is kept, else behind what is: in the order in which they
were taken. What may have been stored twice is told apart by the broker: a result by
compare-and-set, readings by their message ids, and where these are forgotten there by a look at
the last one that was stored.
"""

import asyncio
import json

from edge import port
from edge.errors import BusError
from edge.names import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.runtime import Runtime
    from edge.spool import Spool

    Pairs = list[tuple[str, str]]

RESULT, TELEMETRY = "r", "t"
WINDOW = 16
"""Kept readings that are sent before the first of them is acknowledged."""
AGAIN = 128
"""Records that may be read again after a power cut although the broker has them."""


class Outbox:
    """Sends what is kept, and keeps what cannot be sent. ``spool`` is None if nothing is kept
    over a loss of power; then readings that cannot be sent are dropped and counted."""

    def __init__(self, runtime: "Runtime", spool: "Spool | None") -> None:
        self.spool = spool
        self.dropped = 0
        self._rt = runtime
        self._count = 0
        self._busy = asyncio.Lock()
        self._replaying = False

    def open(self) -> None:
        """Find what an earlier run has kept.

        Raises:
            ValueError: the folder cannot be used.
        """
        if self.spool is not None:
            from edge.spool import SpoolError

            try:
                self.spool.open()
            except SpoolError as problem:
                raise ValueError(str(problem)) from None

    def close(self) -> None:
        """Nothing more is kept in this run."""
        if self.spool is not None:
            self.spool.close()

    def report(self) -> "dict[str, int]":
        """What heartbeats tell."""
        spool = self.spool
        if spool is None:
            return {"dropped": self.dropped}
        return {"spooled": len(spool), "dropped": self.dropped + spool.dropped}

    def keep_result(self, subject: str, ack: str, head: "Pairs", body: bytes) -> int:
        """Keep a result with the subject that acknowledges its task; 0 if there is no room."""
        if self.spool is None:
            return 0
        return self.spool.put(RESULT, _packed({"s": subject, "h": head, "a": ack}, body))

    def done(self, kept: int) -> None:
        """The broker has the result."""
        if self.spool is not None:
            self.spool.done(kept, RESULT)

    async def results(self) -> None:
        """Send the results that an earlier run of this agent has kept.

        Raises:
            BusError: the connection broke.
        """
        spool = self.spool
        while spool is not None and spool.pending(RESULT):
            found = spool.first(WINDOW, kind=RESULT)
            if not found:
                return
            for seq, _, body in found:
                about, output = _unpacked(body)
                try:
                    await self._rt.client.store(about["s"], output, about["h"])
                except BusError as problem:
                    if not problem.code:
                        raise
                    if problem.code != 10071:
                        # It stays for the next start: the agent must be able to work.
                        port.log(port.WARNING, f"a kept result is refused: {problem}")
                        return
                self._rt.client.pub(about["a"], b"+ACK")
                spool.done(seq, RESULT)

    async def send(self, subject: str, body: bytes) -> None:
        """Bring readings to the broker, after those that are kept; or keep them."""
        rt = self._rt
        self._count += 1
        head = [("Nats-Msg-Id", f"{rt.id}-{rt.incarnation}-{self._count}")]
        spool = self.spool
        async with self._busy:
            if rt.client.connected and (spool is None or not spool.pending(TELEMETRY)):
                try:
                    await rt.client.store(subject, body, head)
                    return
                except asyncio.CancelledError:
                    self._keep(subject, head, body)
                    raise
                except BusError as problem:
                    port.log(port.WARNING, f"readings are not stored yet: {problem}")
            self._keep(subject, head, body)

    def _keep(self, subject: str, head: "Pairs", body: bytes) -> None:
        if self.spool is None:
            self.dropped += 1
        else:
            self.spool.put(TELEMETRY, _packed({"s": subject, "h": head}, body))

    async def replay(self) -> None:
        """Send the readings that are kept, at a limited rate, until none are left.

        Raises:
            BusError: the connection broke, or the broker does not take them.
        """
        rt, spool = self._rt, self.spool
        if spool is None or self._replaying or not spool.pending(TELEMETRY):
            return
        self._replaying = True
        try:
            self._skip(await self._last())
            pause = WINDOW / rt.settings["spool_rate"]
            while True:
                found = spool.first(WINDOW, kind=TELEMETRY)
                if not found:
                    return
                begun = port.ticks()
                await self._batch(found)
                for seq, _, _ in found:
                    spool.done(seq, TELEMETRY)
                await asyncio.sleep(max(0.0, pause - (port.ticks() - begun) / 1000))
        finally:
            self._replaying = False

    def _skip(self, stored: str) -> None:
        """Forget what the broker has had since before the link broke, or the power: all up to
        the one with the id ``stored``, if it is among the first."""
        spool = self.spool
        seen: list[int] = []
        while spool is not None and len(seen) < AGAIN:
            found = spool.first(WINDOW, after=seen[-1] if seen else 0, kind=TELEMETRY)
            for seq, _, body in found:
                seen.append(seq)
                if dict(_unpacked(body)[0]["h"]).get("Nats-Msg-Id") == stored:
                    for one in seen:
                        spool.done(one, TELEMETRY)
                    return
            if len(found) < WINDOW:
                return

    async def _last(self) -> str:
        """Message id of the last reading of this agent that the broker has."""
        rt = self._rt
        subject = f"{rt.root}telemetry.{rt.agent.site}.{rt.id}.*"
        question = {"multi_last": [subject], "batch": 64}
        found = await rt.client.stored("TELEMETRY_" + rt.settings["fleet"], question, 64)
        found.sort(key=lambda one: int(one.headers.get("Nats-Sequence", "0")))
        return found[-1].headers.get("Nats-Msg-Id", "") if found else ""

    async def _batch(self, found: "list[tuple[int, str, bytes]]") -> None:
        jobs = []
        for _, _, body in found:
            about, readings = _unpacked(body)
            jobs.append(self._rt.client.store(about["s"], readings, about["h"]))
        # They leave in this order, and what is stored of them is always their beginning.
        for one in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(one, BaseException):
                raise one


def _packed(about: "dict[str, Any]", body: bytes) -> bytes:
    return dumps(about).encode() + b"\n" + body


def _unpacked(record: bytes) -> "tuple[dict[str, Any], bytes]":
    at = record.find(b"\n")
    return json.loads(record[:at]), record[at + 1 :]
