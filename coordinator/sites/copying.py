"""Copies the hub's configuration of agents into a site's own bucket, all of it or nothing.

No mirror of the server's: that strips the headers by which a batch is known, and does not
notice a bucket that was made anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from bus.client import config
from bus.config.layers import Layers
from bus.config.past import state
from bus.connection import Bus
from bus.subjects import HEAD, LAYERS
from bus.wire.config import ConfigLayer
from coordinator.sites.far import Far


def difference(here: Layers, there: Layers) -> Mapping[str, ConfigLayer | None]:
    """What to write here so that it is as there; None deletes. Pure."""
    changes: dict[str, ConfigLayer | None] = {
        name: one.layer
        for name, one in there.stored.items()
        if name not in here.stored or here.stored[name].layer != one.layer
    }
    changes.update(dict.fromkeys(here.stored.keys() - there.stored.keys()))
    return changes


async def copy(bus: Bus, far: Far) -> int:
    """Make this side's configuration as it is at the hub; how many layers that changed.

    What does not count there (a batch whose head has not come, what cannot be read) is left as
    it is here.

    Raises:
        LinkDown, TimeoutError, BusError: as for ``Far.lasts`` and ``config.commit``.
        ConfigConflict: somebody writes here at the same time.
    """
    subjects = bus.subjects
    keys = [f"{subjects.config_keys}{LAYERS}>", subjects.config_keys + HEAD]
    found = await far.lasts(subjects.config_stream, keys)
    changes = sorted((config.read(bus, one) for one in found), key=lambda one: one.revision)
    there = state(changes)
    before = await config.current(bus)
    wanted = {
        name: layer
        for name, layer in difference(before.layers, there.layers).items()
        if LAYERS + name not in there.ignored
    }
    head = there.layers.head
    if head is not None:
        if wanted or head != before.layers.head:
            await config.commit(bus, wanted, head, before)
        return len(wanted)
    for name, layer in wanted.items():
        await config.put(bus, name, layer, before.revisions.get(LAYERS + name, 0))
    return len(wanted)
