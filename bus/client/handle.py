"""A submitted task, as its submitter holds it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from bus import lifecycle
from bus.wire.result import Result
from bus.wire.task import Progress, TaskState

if TYPE_CHECKING:
    from bus.client.tasks import Tasks

KEPT_PROGRESS: Final = 1000
"""Progress messages kept for a reader that is late; the oldest go first."""


class TaskHandle:
    """One task. Made by ``submit``; valid as long as its client is open.

    Attributes:
        deadline: Unix milliseconds, 0 for none.
        state: as far as is known here; ``status`` asks the bus.
        skipped: progress messages that were dropped because nobody read them.
    """

    __slots__ = (
        "__weakref__",
        "_done",
        "_news",
        "_progress",
        "_tasks",
        "_waiting",
        "capability",
        "deadline",
        "id",
        "skipped",
        "state",
    )

    def __init__(self, tasks: Tasks, task_id: str, capability: str, deadline: int) -> None:
        self.id = task_id
        self.capability = capability
        self.deadline = deadline
        self.state: TaskState = "submitted"
        self.skipped = 0
        self._tasks = tasks
        self._done: asyncio.Future[Result] = tasks.following.loop.create_future()
        self._waiting: list[asyncio.Future[None]] | None = None
        self._progress: deque[Progress] | None = None
        self._news: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id} {self.capability} {self.state}>"

    @property
    def finished(self) -> asyncio.Future[Result]:
        """A future of the result, for those who gather many."""
        return self._done

    async def outcome(self, timeout: float | None = None) -> Result:
        """How the task ended, whatever way that was.

        Raises:
            TaskTimeout: not within ``timeout`` seconds; the task goes on.
            Disconnected: the client was closed first; the task goes on.
        """
        if not self._done.done():
            await self._tasks.following.wait(self, timeout)
        return self._done.result()

    async def ended(self) -> None:
        """Return when the result is there, or cannot be had. Called by the client."""
        # As with asyncio.shield, who is interrupted takes nothing from the others who wait; but
        # it takes one turn of the loop instead of two, and half the time.
        if not self._done.done():
            waiter: asyncio.Future[None] = self._tasks.following.loop.create_future()
            if self._waiting is None:
                self._waiting = [waiter]
            else:
                self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # Who gives up waits no more, and must not be kept until the task ends.
                if self._waiting is not None and waiter in self._waiting:
                    self._waiting.remove(waiter)
                raise

    async def result(self, timeout: float | None = None, kind: Any = Any) -> Any:
        """The task's output, decoded as ``kind``.

        Raises:
            TaskTimeout: not within ``timeout`` seconds; the task goes on.
            TaskFailed, TaskRejected, TaskCanceled, TaskExpired: it did not complete.
            DecodeError: the output is not a ``kind``.
        """
        return (await self.outcome(timeout)).value(kind)

    async def progress(self) -> AsyncIterator[Progress]:
        """Progress as it comes, from what is still kept until the result is there.

        Delivery is best effort: what was sent while the connection was down is not repeated.
        """
        news = self._news
        if news is None:
            news = self._news = asyncio.Event()
            self._done.add_done_callback(lambda _: news.set())
        while True:
            while self._progress:
                yield self._progress.popleft()
            if self._done.done():
                return
            news.clear()
            await news.wait()

    async def cancel(self, reason: str = "") -> bool:
        """Cancel the task; True if that is how it ended, False if it had ended before."""
        return await self._tasks.cancel(self.id, self.capability, reason)

    async def status(self) -> TaskState:
        """Ask the bus for the state.

        ``working`` is known only from progress that was seen here; a task that is held by an
        agent and silent counts as ``submitted``.

        Raises:
            TaskNotFound: the bus knows it no more.
        """
        if not self._done.done():
            found = await self._tasks.get(self.id)
            if isinstance(found, Result):
                self.settle(found)
        return self.state

    def settle(self, result: Result) -> None:
        """The result is there. Called by the client; a second one changes nothing."""
        if not self._done.done():
            if self.state == "submitted" and result.state == "completed":
                self.state = lifecycle.step(self.state, "working")
            self.state = lifecycle.step(self.state, result.state)
            self._done.set_result(result)
        self._wake()

    def fail(self, problem: Exception) -> None:
        """The result cannot be read, or not be waited for any more. Called by the client."""
        if not self._done.done():
            self._done.set_exception(problem)
            self._done.exception()  # seen: that nobody waits for it is no error
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.pop()
            if not waiter.done():
                waiter.set_result(None)

    def advance(self, progress: Progress) -> None:
        """Progress came. Called by the client."""
        if self._done.done():
            return
        if self.state == "submitted":
            self.state = lifecycle.step(self.state, "working")
        if self._progress is None:
            self._progress = deque(maxlen=KEPT_PROGRESS)
        if len(self._progress) == KEPT_PROGRESS:
            self.skipped += 1
        self._progress.append(progress)
        if self._news is not None:
            self._news.set()
