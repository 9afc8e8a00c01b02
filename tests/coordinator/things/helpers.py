"""Looking at the fleet from the outside."""

from __future__ import annotations

from bus import Bus, Client, codec, store
from bus.testing import eventually
from bus.wire import Event, Heartbeat


async def there(client: Client, *things: str) -> None:
    """Wait until these and no others are in the registry."""

    async def all_there() -> bool:
        return {card.agent for card in await client.agents()} == set(things)

    await eventually(all_there, 10)


async def events(bus: Bus, thing: str) -> list[str]:
    """The kinds of all events about a thing, in order."""
    found = []
    subjects = bus.subjects
    async for message in store.scan(bus, subjects.events_stream, subjects.event("*", thing)):
        found.append(codec.decode(Event, message.data).kind)
    return found


async def count(bus: Bus, stream: str) -> int:
    """Messages in a stream."""
    info = await bus.api(f"STREAM.INFO.{stream}")
    return int(info["state"]["messages"])


class Beats:
    """Heartbeats as they come."""

    def __init__(self) -> None:
        self.heard: list[Heartbeat] = []

    @property
    def last(self) -> Heartbeat:
        """Fails while there is none, so that ``eventually`` tries again."""
        assert self.heard, "no heartbeat"
        return self.heard[-1]

    async def listen(self, bus: Bus) -> Beats:
        await bus.listen(
            bus.subjects.heartbeats,
            lambda message: self.heard.append(codec.decode(Heartbeat, message.data)),
        )
        await bus.flush()
        return self
