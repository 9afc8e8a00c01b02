"""Keeps the bus as the branch is: looks again and again, and at once when a layer is edited."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Final

from bus.client import config, records
from bus.errors import BusError, ConfigError
from bus.subjects import LAYERS
from bus.transport import Inbound
from fleetbus.gitops.sync import InvalidCommit, Outcome, Sync, SyncRefused

PAUSE: Final = 0.5
"""Seconds between two looks at the least: whoever edits in a loop is not answered in one."""

LOOK: Final = 60.0
"""Seconds after which the bus is looked at though nothing is known to have changed."""

NAMED: Final = 20
"""Problems of a commit that its event names at most."""


async def watch(sync: Sync, interval: float) -> AsyncGenerator[Outcome | Exception, None]:
    """The first sync, each further one that wrote something, and each trouble when it begins;
    endless.

    A trouble leaves in force what is, and a later look may end it: then comes an ``Outcome`` that
    need not have written anything. While the tip of the branch is a commit that was rolled back
    from, or that cannot be applied, what is in force is kept as it is.

    Args:
        interval: seconds between looks at the branch.

    Raises:
        TopologyMissing, BusError: the bus cannot be listened to in the first place.
    """
    woken = asyncio.Event()

    def on_write(message: Inbound) -> None:
        # A batch is another sync's; whether that was right is for its own checks to say.
        if not config.read(sync.bus, message).batched:
            woken.set()

    pattern = sync.bus.subjects.config(f"{LAYERS}>")
    subscription = await sync.bus.listen(pattern, on_write)
    # What was written while we were away was not heard.
    sync.bus.reconnected.append(woken.set)
    trouble, seen, looked = "", "", 0.0
    try:
        while True:
            begun = time.monotonic()
            try:
                tip = await sync.tip()
                if woken.is_set() or tip.id != seen or begun - looked > LOOK:
                    woken.clear()
                    first, seen, looked = not seen, tip.id, begun
                    outcome = await sync.follow(tip)
                    if outcome.wrote or trouble or first:
                        trouble = ""
                        yield outcome
            except (ConfigError, BusError, TimeoutError) as error:
                if not isinstance(error, InvalidCommit | SyncRefused):
                    seen = ""  # it may be over at the next look
                if str(error) != trouble:
                    trouble = str(error)
                    await _tell(sync, error)
                    yield error
            await asyncio.sleep(max(0.0, PAUSE - (time.monotonic() - begun)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, interval - PAUSE)):
                    await woken.wait()
    finally:
        sync.bus.reconnected.remove(woken.set)
        await sync.bus.unlisten(subscription)


async def _tell(sync: Sync, error: Exception) -> None:
    """Store an event about a commit that cannot be applied, for those who watch the fleet."""
    if not isinstance(error, InvalidCommit):
        return
    shown = [str(one) for one in error.problems if one.severity == "error"][:NAMED]
    data = {"commit": error.commit.id, "author": error.commit.author, "problems": shown}
    with contextlib.suppress(BusError, TimeoutError):  # our caller is told the error itself
        await records.event(sync.bus, "config.failed", error.commit.id, by=sync.by, data=data)
