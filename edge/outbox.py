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
from edge.client import WRONG_LAST_SEQUENCE
from edge.errors import BusError
from edge.link import TOO_LARGE
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
        self._waiting = 0
        self._refused: list[int] = []
        """Numbers of readings that the broker has refused: it does not have them."""
        self.trouble = ""
        """Why not everything is kept; empty again once the spool was empty."""
        self._lost = 0
        self._corrupt = 0

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
            self._look()

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
        """Keep a result with the subject that acknowledges its task; 0 if there is no room: it is
        in memory still, and is sent on."""
        return self._put(RESULT, {"s": subject, "h": head, "a": ack}, body)

    def done(self, kept: int) -> None:
        """The broker has the result."""
        if self.spool is not None:
            self.spool.done(kept, RESULT)
            self._look()

    async def results(self) -> None:
        """Send the results that an earlier run of this agent has kept. One that the broker refuses
        is tried again later: the agent must be able to work meanwhile.

        Raises:
            BusError: the connection broke.
        """
        rt, spool = self._rt, self.spool
        after, left = 0, 0
        while spool is not None:
            found = spool.first(WINDOW, after=after, kind=RESULT)
            if not found:
                break
            for after, _, body in found:
                about, output = _unpacked(body)
                try:
                    await rt.client.store(about["s"], output, about["h"])
                except BusError as problem:
                    if not rt.client.connected:
                        raise
                    if problem.code != WRONG_LAST_SEQUENCE:
                        port.log(port.WARNING, f"a kept result is refused: {problem}")
                        left += 1
                        continue
                rt.client.pub(about["a"], b"+ACK")
                spool.done(after, RESULT)
        if left:
            again = lambda: rt.chores.spawn(self.results(), "kept results")  # noqa: E731
            rt.chores.at("results", port.uniform(60_000, 120_000), again)

    async def send(self, subject: str, body: bytes) -> None:
        """Bring readings to the broker, after those that are kept; or keep them."""
        rt = self._rt
        head = self._head()
        if self._waiting >= WINDOW:
            # The broker does not answer: memory is bounded, and time is not.
            self.dropped += 1
            return
        self._waiting += 1
        stored = False
        try:
            async with self._busy:
                if rt.client.connected and not self._kept():
                    await rt.client.store(subject, body, head)
                    stored = True
        except BusError as problem:
            stored = self._too_large(problem)
            if not stored:
                port.log(port.WARNING, f"readings are not stored yet: {problem}")
        finally:
            self._waiting -= 1
            if not stored:
                self._put(TELEMETRY, {"s": subject, "h": head}, body)

    def keep(self, subject: str, body: bytes) -> None:
        """Keep readings for the next start."""
        self._put(TELEMETRY, {"s": subject, "h": self._head()}, body)

    def _too_large(self, problem: BaseException) -> bool:
        """Whether readings can never be sent. They must not hold up the others."""
        if not isinstance(problem, BusError) or problem.code != TOO_LARGE:
            return False
        self.dropped += 1
        port.log(port.ERROR, f"readings are dropped: {problem}")
        return True

    def _head(self) -> "Pairs":
        self._count += 1
        return [("Nats-Msg-Id", f"{self._rt.id}-{self._rt.incarnation}-{self._count}")]

    def _kept(self) -> bool:
        return self.spool is not None and self.spool.pending(TELEMETRY) > 0

    def _put(self, kind: str, about: "dict[str, Any]", body: bytes) -> int:
        spool = self.spool
        if spool is not None:
            try:
                return spool.put(kind, _packed(about, body))
            except Exception as problem:  # a disk that fails must not end the agent
                port.log(port.ERROR, f"spool: {problem}")
            finally:
                self._look()
        self.dropped += kind == TELEMETRY
        return 0

    def _look(self) -> None:
        """Log that not all is kept, and that it is again: once each, whatever the reasons are
        meanwhile. ``trouble`` has the last one."""
        spool = self.spool
        if spool is None:
            return
        lost = spool.dropped + spool.refused
        said = spool.problem
        if not said and lost > self._lost:
            said = "it is full: the oldest readings go, results are in memory only"
        if not said and len(spool):
            # What has gone wrong may do so with each record, or with each tenth.
            said = self.trouble
        if (not said) != (not self.trouble):
            port.log(port.WARNING, "spool: " + (said or "all is kept again"))
        if spool.corrupt > self._corrupt:
            text = f"spool: damage was skipped, {spool.corrupt} times since the start"
            port.log(port.WARNING, text)
        self.trouble, self._lost, self._corrupt = said, lost, spool.corrupt

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
                await self._batch(spool, found)
                await asyncio.sleep(max(0.0, pause - (port.ticks() - begun) / 1000))
        finally:
            self._replaying = False
            self._look()

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
                        if one not in self._refused:
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

    async def _batch(self, spool: "Spool", found: "list[tuple[int, str, bytes]]") -> None:
        jobs = []
        for _, _, body in found:
            about, readings = _unpacked(body)
            jobs.append(self._rt.client.store(about["s"], readings, about["h"]))
        # They leave in this order. What is stored of them when the link breaks is their
        # beginning; when one is refused the others are stored all the same.
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        problem: BaseException | None = None
        refused = []
        for at, answer in enumerate(answers):
            if isinstance(answer, BaseException) and not self._too_large(answer):
                problem = answer
                refused.append(found[at][0])
            else:
                spool.done(found[at][0], TELEMETRY)
        if problem is not None:
            if self._rt.client.connected:
                self._refused = refused
            raise problem


def _packed(about: "dict[str, Any]", body: bytes) -> bytes:
    return dumps(about).encode() + b"\n" + body


def _unpacked(record: bytes) -> "tuple[dict[str, Any], bytes]":
    at = record.find(b"\n")
    return json.loads(record[:at]), record[at + 1 :]
