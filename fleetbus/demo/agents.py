"""The agents that come with fleetbus: small useful capabilities in plain Python.

``fleetbus up`` runs them when it is given no others, and the demo runs four.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from agent_runtime import Agent, Task
from fleetbus.demo.files import digest
from fleetbus.demo.ledger import Ledger
from fleetbus.demo.source import SourceFacts, outline
from fleetbus.demo.text import Hit, search, summarize, word_stats

GRACE: Final = 2.0
"""Seconds for running tasks when an agent is stopped: none of these runs for longer."""


def demo_agents() -> list[Agent]:
    """Two agents with all bundled capabilities."""
    return [agent("demo-1"), agent("demo-2")]


def agent(name: str, slots: int = 4, pause: float = 0.0, ledger: Path | None = None) -> Agent:
    """An agent with all bundled capabilities.

    Args:
        name: its id.
        slots: tasks that it runs at a time.
        pause: seconds that it pauses on each, as one does that waits for a disk or a model.
        ledger: a directory in which it notes each start of a handler, see ``demo.ledger``.

    Raises:
        InvalidName: ``name`` is not a legal token.
        CapabilityError: ``slots`` is not 1 to 4096.
    """
    record = Ledger(ledger, name) if ledger is not None else None

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if record is not None:
            record.open()
        try:
            yield
        finally:
            if record is not None:
                record.close()

    def begin(task: Task) -> None:
        if record is not None:
            record.started(task.id)
        if pause:
            time.sleep(pause)  # handlers are plain functions: this is their own thread

    made = Agent(
        name,
        labels={"kind": "demo"},
        slots=slots,
        grace=GRACE,
        lifespan=lifespan,
    )

    @made.capability("words", version="1.0.0", tags=("text",))
    def words(task: Task, text: str, top: int = 20) -> dict[str, Any]:
        """Count the words of a text and name its most frequent terms."""
        begin(task)
        return word_stats(text, top)

    @made.capability("search", version="1.0.0", tags=("text",))
    def search_text(task: Task, text: str, query: str) -> list[Hit]:
        """Find the lines of a text that contain a query."""
        begin(task)
        return search(text, query)

    @made.capability("summarize", version="1.0.0", tags=("text",))
    def summarize_text(task: Task, text: str, sentences: int = 1) -> str:
        """Pick the sentences that say most about a text."""
        begin(task)
        return summarize(text, sentences)

    @made.capability("hash", version="1.0.0", tags=("file",))
    def hash_file(task: Task, data: bytes) -> dict[str, Any]:
        """Digest and size of a file's content, sent as octets."""
        begin(task)
        return digest(data)

    @made.capability("python", version="1.0.0", tags=("source",))
    def python(task: Task, text: str) -> SourceFacts:
        """Count what a Python source file defines and name what it imports."""
        begin(task)
        return outline(text)

    return made
