"""Everything that was seen on the bus of one fleet, and waiting for what is yet to come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from bus.errors import DecodeError
from bus.transport import Inbound
from bus.wire import headers as h
from fleetbus.conformance.check import Failed


@dataclass(frozen=True, slots=True)
class Seen:
    """A message, and when it came."""

    number: int
    at: float
    """On the monotonic clock."""
    subject: str
    reply: str
    data: bytes
    block: bytes

    @property
    def headers(self) -> h.Headers:
        """By name; none where the block cannot be read."""
        try:
            return h.decode(self.block) if self.block else {}
        except DecodeError:
            return {}

    @property
    def status(self) -> str:
        """The server's inline status, such as ``503``."""
        return self.block[9:12].decode("ascii", "replace") if self.block[8:9] == b" " else ""

    def __str__(self) -> str:
        return f"{self.subject} {dict(self.headers)} {self.data[:120]!r}"


Where = Callable[[Seen], bool]


def covers(pattern: str, subject: str) -> bool:
    """Whether a subscription to ``pattern`` gets all that ``subject``, which may have wildcards
    itself, stands for."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for index, one in enumerate(wanted):
        if one == ">":
            return len(tokens) > index
        if index >= len(tokens) or tokens[index] == ">":
            return False
        if one not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)


class Record:
    """Messages in the order in which they came. Those of one connection keep their order."""

    def __init__(self, timeout: float) -> None:
        """``timeout``: seconds in which what is waited for must come."""
        self.timeout = timeout
        self.seen: list[Seen] = []
        self._by_subject: dict[str, list[Seen]] = {}
        self._waiting: list[tuple[str, Where | None, asyncio.Future[Seen]]] = []

    def add(self, message: Inbound) -> None:
        """A message came."""
        one = Seen(
            len(self.seen),
            time.monotonic(),
            message.subject,
            message.reply,
            message.data,
            message.block,
        )
        self.seen.append(one)
        self._by_subject.setdefault(one.subject, []).append(one)
        for entry in list(self._waiting):
            pattern, where, future = entry
            if covers(pattern, one.subject) and (where is None or where(one)):
                self._waiting.remove(entry)
                if not future.done():
                    future.set_result(one)

    def mark(self) -> int:
        """Now, as a ``since``."""
        return len(self.seen)

    def all(self, pattern: str, since: int = 0, where: Where | None = None) -> list[Seen]:
        """What came on subjects that match ``pattern``, oldest first."""
        if "*" in pattern or ">" in pattern:
            found = [one for one in self.seen[since:] if covers(pattern, one.subject)]
        else:
            # Looked up: a check may have sent thousands of calls, each with an inbox.
            found = [one for one in self._by_subject.get(pattern, ()) if one.number >= since]
        return [one for one in found if where is None or where(one)]

    async def first(
        self,
        what: str,
        pattern: str,
        since: int = 0,
        where: Where | None = None,
        timeout: float | None = None,
    ) -> Seen:
        """The first message that matches, come already or to come.

        Raises:
            Failed: none came in time; ``what`` says what was waited for.
        """
        found = next(iter(self.all(pattern, since, where)), None)
        if found is not None:
            return found
        future: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        entry = (pattern, where, future)
        self._waiting.append(entry)
        wait = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(wait):
                return await future
        except TimeoutError:
            others = self.all(pattern, since)
            last = f"; the last of {len(others)} there: {others[-1]}" if others else ""
            raise Failed(what, f"nothing such in {wait:g} s{last}") from None
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
