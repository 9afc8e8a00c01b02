"""Which agents of a site the hub shows, as their ids are taken and given up."""

from __future__ import annotations

from bus import Bus, Client
from bus.wire.card import Card
from coordinator.sites.relay import Relay


async def test_an_id_is_shown_when_it_is_free_again(bus: Bus, client: Client) -> None:
    taken: set[str] = {"a1"}
    relay = Relay(bus, "s1", taken.__contains__, lambda _: False, lambda _: 0)
    cards = {name: Card(name, "i", "s1") for name in ("a1", "a2")}

    async def shown() -> list[str]:
        relay.sort(cards)
        await relay.write(cards)
        return [card.agent for card in await client.agents() if card.relay]

    relay.news.update(dict.fromkeys(cards))
    assert await shown() == ["a2"]
    assert relay.doubles == {"a1"}
    assert not relay.news
    taken.clear()
    assert sorted(await shown()) == ["a1", "a2"]
    assert not relay.doubles
    # Somebody at the hub takes an id: the site's own is said no more.
    taken.add("a2")
    relay.sort(cards)
    assert list(relay.news) == ["a2"]
    await relay.write(cards)
    assert relay.doubles == {"a2"}
    relay.sort(cards)
    assert not relay.news, "told once"
