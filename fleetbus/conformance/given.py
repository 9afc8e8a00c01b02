"""A task or call that the suite, as the coordinator, has sent to the agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bus.errors import DecodeError
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.result import Result
from fleetbus.conformance.check import Failed, equal
from fleetbus.conformance.record import Record, Seen

if TYPE_CHECKING:
    from bus.subjects import Subjects

LAST_WORDS: Final = (b"+ACK", b"-NAK", b"+TERM")
"""After which the agent holds it no longer."""


@dataclass(slots=True)
class Given:
    """One dispatch. Of a call ``ack`` is empty and ``inbox`` is where its result goes."""

    record: Record
    subjects: Subjects
    id: str
    capability: str
    data: bytes
    since: int
    """When it was dispatched, in the record."""
    answers: str
    """The reply subject of the dispatch: where a refusal comes."""
    ack: str = ""
    inbox: str = ""
    adopted: bool = False
    """A later delivery of the same task has taken its place."""

    def words(self) -> list[Seen]:
        """All that was published to its ack subject."""
        return self.record.all(self.ack, self.since)

    def said(self, word: bytes) -> list[Seen]:
        """The words that begin with ``word``."""
        return [one for one in self.words() if one.data.startswith(word)]

    @property
    def over(self) -> bool:
        """The agent holds it no longer, or never did."""
        if self.adopted or self.refusals():
            return True
        if self.inbox:
            return bool(self.record.all(self.inbox, self.since))
        return any(one.data.startswith(LAST_WORDS) for one in self.words())

    async def word(self, word: bytes, timeout: float | None = None) -> Seen:
        """The first ``word`` on its ack subject.

        Raises:
            Failed: it did not come in time.
        """
        what = f"{word.decode()} for the {self.capability} task"
        return await self.record.first(
            what, self.ack, self.since, lambda one: one.data.startswith(word), timeout
        )

    async def published(self, timeout: float | None = None) -> Seen:
        """The result as the agent published it, stored or not."""
        return await self.record.first(
            f"a result of the {self.capability} task",
            self.subjects.result(self.id),
            self.since,
            lambda one: h.AGENT in one.headers,
            timeout,
        )

    async def result(self, timeout: float | None = None) -> Result:
        """The result: of a task once it is stored, of a call once it was answered.

        Raises:
            Failed: it did not come in time, or cannot be read.
        """
        subject = self.inbox or self.subjects.done(self.id)
        kind = "call" if self.inbox else "task"
        what = f"a result of the {self.capability} {kind}"
        seen = await self.record.first(what, subject, self.since, None, timeout)
        try:
            return results.decode(self.id, seen.headers, seen.data)
        except DecodeError as problem:
            raise Failed("a result that can be read", f"{problem}: {seen}") from None

    async def finished(self, state: str, timeout: float | None = None) -> Result:
        """The stored result, after it was acknowledged.

        Raises:
            Failed: it is not in ``state``, or was not acknowledged.
        """
        result = await self.result(timeout)
        if result.state != state:
            error = "" if result.error is None else f", {result.error.message!r}"
            raise Failed(f"state {state} of the {self.capability} task", f"{result.state}{error}")
        if not self.inbox:
            await self.word(b"+ACK")
        return result

    def refusals(self) -> list[Seen]:
        """What was answered to the dispatch."""
        return self.record.all(self.answers, self.since)

    async def refused(self, reason: str) -> None:
        """Wait for the refusal.

        Raises:
            Failed: none came, or another.
        """
        what = f"Fleet-Busy: {reason} in answer to the dispatch"
        seen = await self.record.first(what, self.answers, self.since)
        equal("Fleet-Busy", seen.headers.get(h.BUSY, f"no such header: {seen}"), reason)

    def silent(self) -> None:
        """Raises:
        Failed: the dispatch was answered.
        """
        answered = self.refusals()
        if answered:
            raise Failed("no answer to a dispatch that was taken", str(answered[0]))
