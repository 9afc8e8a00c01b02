"""Runs what was taken, and brings each outcome to the broker: result first, then the ack."""

import asyncio
import json

from edge import port
from edge.client import HEADROOM, WRONG_LAST_SEQUENCE
from edge.errors import BusError
from edge.names import ascii_json, dumps
from edge.params import Invalid, checked
from edge.task import ENDING, RUNNING, Retry, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.agent import Offer
    from edge.runtime import Runtime

    Error = tuple[str, str, str]
    Outcome = tuple[str, Any, str, "Error | None", "float | None"]
    """State, output, its content type, why it is not completed, and seconds until it is tried
    again."""

JSON = "application/json"
OCTETS = "application/octet-stream"
AGAIN, BACK = "again", "back"
"""Beside the states of results: to be tried again, and handed back as it came."""
PAUSE = 1000
"""Milliseconds until a result that the broker would not take is sent again."""
LATE = ("its deadline passed before it completed", "DeadlineExceeded", "")


class Work:
    """The slots of one agent."""

    def __init__(self, runtime: "Runtime") -> None:
        self._rt = runtime
        self._queue: list[Task] = []
        self.refused = 0
        """Results that the broker had already."""
        self.lapsed = 0
        """Tasks that were not begun because the broker had given them to somebody else."""

    def take(self, task: Task) -> None:
        """Run ``task`` now if a slot is free, else when one is."""
        if self._rt.load.running < self._rt.load.slots:
            self._start(task)
        else:
            self._queue.append(task)

    def cancel(self, task: Task, why: str, reason: str) -> None:
        """End ``task`` before its time."""
        if not task.why:
            task.why, task.reason = why, reason
            task.canceled = True
        if task.stage == RUNNING:
            if task.begun:
                task.runner.cancel()
        elif task in self._queue:
            self._queue.remove(task)
            self._rt.load.queued -= 1
            self._end(task, self._interrupted(task), 0)
            self._rt.presence.poke()

    def hand_back(self, running: bool) -> None:
        """Give back what waits, and what runs too if it shall not go on."""
        for task in list(self._queue):
            self.cancel(task, "stop", "")
        if running:
            for task in list(self._rt.intake.held.values()):
                self.cancel(task, "stop", "")

    # the inside

    def _start(self, task: Task) -> None:
        load = self._rt.load
        load.queued -= 1
        load.running += 1
        task.stage = RUNNING
        task.runner = self._rt.chores.spawn(self._run(task), "task " + task.id)

    async def _run(self, task: Task) -> None:
        # One that is cancelled before its first step would never come here.
        task.begun = True
        begun = port.ticks()
        offer = self._rt.offers[task.capability]
        outcome: Outcome | None
        if task.why:
            outcome = self._interrupted(task)
        elif task.ack and begun > task.leased_until:
            self.lapsed += 1
            outcome = None
        else:
            try:
                outcome = await self._outcome(task, offer)
            except asyncio.CancelledError:
                outcome = self._interrupted(task)
            except port.RAISED as problem:  # the task must end all the same, and free its slot
                port.log(port.ERROR, f"task {task.id}: {port.trace(problem)}")
                outcome = "failed", b"", "", (port.said(problem), type(problem).__name__, ""), None
        self._rt.chores.cancel("limit " + task.id)
        ms = port.ticks() - begun
        task.stage = ENDING
        try:
            if outcome is not None:
                self._end(task, outcome, ms)
        except Exception as problem:  # the slot is to be free whatever happens
            port.log(port.ERROR, f"task {task.id}: {port.trace(problem)}")
            outcome = None
        if outcome is None:
            # Held no longer, it is not extended: the broker gives it out again.
            self._rt.intake.release(task)
        # The slot of a plain function is its thread's until that ends.
        await port.ended(task.runs)
        state = outcome[0] if outcome is not None else ""
        worked = True if state == "completed" else (False if state in ("failed", AGAIN) else None)
        tell = self._rt.load.finish(task.capability, port.ticks() - begun, worked)
        while self._queue and self._rt.load.running < self._rt.load.slots:
            self._start(self._queue.pop(0))
        if tell:
            self._rt.presence.poke()

    def _interrupted(self, task: Task) -> "Outcome":
        if task.why == "canceled":
            return "canceled", b"", "", (task.reason, "Canceled", ""), None
        if task.why == "deadline":
            return "expired", b"", "", LATE, None
        if task.why == "timeout":
            return AGAIN, b"", "", (task.reason, "Timeout", ""), None
        if task.why == "stop":
            return BACK, b"", "", None, None
        return AGAIN, b"", "", ("the handler was interrupted", "CancelledError", ""), None

    async def _outcome(self, task: Task, offer: "Offer") -> "Outcome":
        rt = self._rt
        left = task.time_left
        if left is not None and left <= 0:
            return "expired", b"", "", LATE, None
        try:
            if task.ack and (task.attempt > 1 or task.redelivered):
                await self._mark(task, task.attempt)
            data = task.data
            if task.payload:
                from edge import payloads

                try:
                    data = await payloads.get(rt, task.payload)
                except payloads.TooBig as problem:
                    return "rejected", b"", "", (str(problem), "InvalidInput", ""), None
        except BusError as problem:
            # If it was the link, no attempt is used up: the handler was not entered.
            state = BACK if task.ack and not problem.code else AGAIN
            return state, b"", "", (str(problem), "BusError", ""), None
        try:
            if data is None:
                raise Invalid("", f"{task.size} bytes: this device takes {rt.settings['largest']}")
            args, kwargs = arguments(offer, data, task.content_type)
        except Invalid as problem:
            return "rejected", b"", "", (problem.rule, "InvalidInput", problem.field), None
        limit = offer.timeout
        if left is not None and (limit is None or left < limit):
            rt.chores.at("limit " + task.id, left * 1000, lambda: self.cancel(task, "deadline", ""))
        elif limit is not None:
            text = f"ran longer than its timeout of {limit:g} s"
            rt.chores.at(
                "limit " + task.id, limit * 1000, lambda: self.cancel(task, "timeout", text)
            )
        try:
            value = await port.call(offer.handler, (task,) + args, kwargs, task.runs)
            output, kind = encoded(value)
            return "completed", output, kind, None, None
        except Retry as request:
            return AGAIN, b"", "", (rt.clean(port.said(request)), "Retry", ""), request.after
        except asyncio.CancelledError:
            raise
        except BaseException as problem:  # whatever a handler raises is its outcome
            if port.MICRO and isinstance(problem, KeyboardInterrupt):
                raise  # of people, for all that is known
            error = (rt.clean(port.said(problem)), type(problem).__name__, "")
            if isinstance(problem, offer.retry_on):
                return AGAIN, b"", "", error, None
            port.log(port.WARNING, rt.clean(f"task {task.id} failed: {port.trace(problem)}"))
            return "failed", b"", "", error, None

    def _end(self, task: Task, outcome: "Outcome", ms: float) -> None:
        """Deliver an outcome."""
        state, output, kind, error, after = outcome
        task.stage = ENDING
        rt = self._rt
        if state == BACK and not task.reply:
            rt.chores.spawn(self._back(task), "handing back task " + task.id)
            return
        if state == BACK:
            error = ("the agent stopped before it was done", "AgentStopped", "")
        if state == AGAIN and not task.reply and task.attempt < task.max_attempts:
            if after is None:
                bound = min(60.0, 0.5 * 2 ** min(task.attempt - 1, 20))
                after = bound / 2 + port.uniform(0.0, bound / 2)
            self._ack(task, '-NAK {"delay": %d}' % int(after * 1_000_000_000))
            rt.intake.release(task)
            return
        dead = state == AGAIN and not task.reply
        if state in (AGAIN, BACK):
            state = "failed"
        if state == "failed":
            rt.load.failed += 1
        elif state == "canceled":
            rt.load.canceled += 1
        ended = (state, output, kind, error, None)
        rt.chores.spawn(self._conclude(task, ended, ms, dead), "task " + task.id)

    async def _conclude(self, task: Task, outcome: "Outcome", ms: float, dead: bool) -> None:
        """Deliver a result; of one that is ``dead`` an operator gets the task."""
        rt = self._rt
        try:
            try:
                if dead and outcome[3] is not None:
                    await self._bury(task, outcome[3])
                await self._deliver(task, outcome, ms)
            except port.RAISED as problem:  # no result at all would be the worst
                port.log(port.ERROR, rt.clean(f"task {task.id}: {port.trace(problem)}"))
                task.usages = {}
                rt.load.failed += outcome[0] != "failed"
                why = (rt.clean(port.said(problem)), type(problem).__name__, "")
                await self._deliver(task, ("failed", b"", "", why, None), ms)
        finally:
            rt.intake.release(task)

    async def _deliver(self, task: Task, outcome: "Outcome", ms: float) -> None:
        rt = self._rt
        state, output, kind, error, _ = outcome
        head = [("Fleet-State", state)]
        if kind == OCTETS:
            head.append(("Content-Type", kind))
        head += [("Fleet-Agent", rt.agent.id), ("Fleet-Attempt", str(task.attempt))]
        if error is not None:
            head.append(("Fleet-Error", error_json(error)))
        if task.queued_ms > 0:
            head.append(("Fleet-Queued-Ms", str(task.queued_ms)))
        if ms > 0:
            head.append(("Fleet-Run-Ms", "%.3f" % ms))
        room = rt.client.max_payload - HEADROOM
        if task.usages:
            used = ascii_json(dumps(task.usages))
            head.append(("Fleet-Usage", used))
            # Alone it may need more than what is left for headers.
            room -= len(used)
        if hasattr(output, "read") or len(output) > room:
            from edge import payloads

            name = await payloads.put(rt, task.id, output)
            head.append(("Fleet-Payload", name))
            output = b""
        if task.reply:
            rt.client.pub(task.reply, output, head)
        else:
            await self._store(task, output, head)

    async def _store(self, task: Task, output: bytes, head: "list[tuple[str, str]]") -> None:
        """Store the result, then acknowledge the task. It is sent until the broker has it, and
        kept meanwhile where it outlives the power."""
        rt = self._rt
        subject = rt.root + "result." + task.id
        head.append(("Nats-Expected-Last-Subject-Sequence", "0"))
        kept = 0
        said = False
        while True:
            try:
                await rt.client.store(subject, output, head)
                break
            except BusError as problem:
                if problem.code == WRONG_LAST_SEQUENCE:
                    self.refused += 1
                    break
                if not said:
                    port.log(port.WARNING, f"task {task.id}: not stored yet: {problem}")
                    said = True
                if not kept and rt.outbox is not None:
                    kept = rt.outbox.keep_result(subject, task.ack, head, output)
            await rt.back(PAUSE)
        self._ack(task, "+ACK")
        if kept and rt.outbox is not None:
            rt.outbox.done(kept)

    async def _bury(self, task: Task, error: "Error") -> None:
        """Keep a task that is out of attempts for an operator."""
        head = [
            ("Nats-Msg-Id", "dead-" + task.id),
            ("Content-Type", task.content_type[:256]),
            ("Fleet-Error", error_json(error)),
            ("Fleet-Attempt", str(task.attempt)),
            ("Fleet-Agent", self._rt.agent.id),
        ]
        if task.payload:
            head.append(("Fleet-Payload", task.payload[:256]))
        subject = f"{self._rt.root}dead.{task.capability}.{task.id}"
        await self._rt.persist(subject, task.data or b"", head)

    async def _back(self, task: Task) -> None:
        if not task.begun and task.attempt == 1:
            # Without this the first delivery counts as an attempt.
            try:
                await self._mark(task, 0)
            except BusError as problem:
                port.log(port.WARNING, f"task {task.id}: {problem}")
        self._ack(task, "-NAK" if task.why == "stop" else '-NAK {"delay": 1000000000}')
        self._rt.intake.release(task)

    async def _mark(self, task: Task, attempt: int) -> None:
        """Store how many attempts have begun."""
        head = [("Fleet-Attempt", str(attempt)), ("Fleet-Agent", self._rt.agent.id)]
        await self._rt.client.store(self._rt.root + "attempt." + task.id, b"", head)

    def _ack(self, task: Task, what: str) -> None:
        self._rt.client.pub(task.ack, what.encode())


def arguments(offer: "Offer", data: bytes, kind: str) -> "tuple[tuple[Any, ...], dict[str, Any]]":
    """What the handler is called with beside the task.

    Raises:
        Invalid: naming the field and the rule.
    """
    value: Any
    if kind == OCTETS:
        value = data
    else:
        try:
            value = json.loads(data) if data else {}
        except (ValueError, UnicodeError, RuntimeError) as problem:
            raise Invalid("", f"the input must be JSON: {problem}") from None
    if offer.params is None:
        return (value,), {}
    return (), checked(value, offer.params)


def encoded(value: "Any") -> "tuple[Any, str]":
    """A result as body and content type. A file, or what can be read like one, is left as it is.

    Raises:
        TypeError, ValueError: it has no JSON form.
    """
    if isinstance(value, (bytes, bytearray)):
        return bytes(value), OCTETS
    if hasattr(value, "read"):
        return value, OCTETS
    return dumps(value).encode(), JSON


def error_json(error: "Error") -> str:
    """An error as a header's value, shortened to what fits."""
    message, kind, field = [one.encode("utf-8", "replace").decode() for one in error]
    if len(message) > 1000:
        message = f"{message[:1000]}… ({len(message)} characters)"
    said = {"message": message}
    if kind:
        said["kind"] = kind[:100]
    if field:
        said["field"] = field[:200]
    return ascii_json(dumps(said))
