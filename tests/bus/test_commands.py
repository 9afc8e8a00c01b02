"""Broadcasts against hundreds of agents, simulated by plain subscriptions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bus import Bus, Client, codec, connect, store
from bus.client.commands import Tally, limited, subject_of
from bus.errors import FleetError, InvalidName, InvalidSelector, NoAgent
from bus.selectors import Selector, narrowest
from bus.subjects import Subjects
from bus.transport import Inbound
from bus.wire.card import Capability, Card
from bus.wire.command import Command, Reply, ReplyState

Answer = Callable[[Card, Command], list[Reply]]


def card(agent: str, site: str = "default", **labels: str) -> Card:
    return Card(agent, "i1", site, labels, capabilities=(Capability("echo"),))


def ok(card: Card, command: Command) -> list[Reply]:
    return [Reply(card.agent, "ok", command.id, {"verb": command.verb, **command.args})]


class Crowd:
    """Agents without a runtime: a registry entry each, and the four command subjects."""

    def __init__(self, bus: Bus, answer: Answer) -> None:
        self.bus = bus
        self.answer = answer
        self.cards: dict[str, Card] = {}
        self.commands: list[tuple[str, Command]] = []
        """In order of arrival, with the subject."""

    async def add(self, *cards: Card, registered: bool = True, deaf: bool = False) -> None:
        subjects = self.bus.subjects
        for one in cards:
            if registered:
                key = subjects.registry_keys + one.agent
                await store.publish(self.bus, key, codec.encode(one))
            if deaf:
                continue
            self.cards[one.agent] = one
            await self.bus.listen(subjects.command_agent(one.agent), self._to(one.agent))
        await self.bus.flush()

    async def listen(self) -> None:
        """One subscription stands for everybody's to the shared subjects."""
        for kind in ("all", "site.*", "cap.*"):
            await self.bus.listen(f"{self.bus.subjects.root}.cmd.{kind}", self._to(None))
        await self.bus.flush()

    def _to(self, agent: str | None) -> Callable[[Inbound], None]:
        def on_command(message: Inbound) -> None:
            command = codec.decode(Command, message.data)
            self.commands.append((message.subject, command))
            selector = Selector.parse(command.selector)
            for one in self.cards.values() if agent is None else [self.cards[agent]]:
                if selector.matches(one.agent, one.site, one.labels, ["echo"]):
                    for reply in self.answer(one, command):
                        self.bus.send(message.reply, codec.encode(reply))

        return on_command


@asynccontextmanager
async def crowd(url: str, fleet: str, answer: Answer = ok) -> AsyncIterator[Crowd]:
    async with connect(url, fleet) as bus:
        gathered = Crowd(bus, answer)
        await gathered.listen()
        yield gathered


def names(count: int) -> list[str]:
    return [f"a{i:03}" for i in range(count)]


async def collect(broadcast: AsyncIterator[Reply]) -> list[Reply]:
    return [reply async for reply in broadcast]


@pytest.mark.parametrize(
    ("limit", "count"),
    [(None, 200), (1, 1), (50, 50), (500, 200), (0.1, 20), (0.001, 1), (1.0, 200)],
)
def test_limited(limit: int | float | None, count: int) -> None:
    chosen = limited(names(200), limit)
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))
    assert chosen == limited(list(reversed(names(200))), limit)


def test_limited_by_another_seed_is_another_choice() -> None:
    assert limited(names(200), 10, 1) != limited(names(200), 10, 2)


@pytest.mark.parametrize(
    ("select", "subject"),
    [
        ("", "fleet.dev.cmd.all"),
        ("env=prod", "fleet.dev.cmd.all"),
        ("site=berlin,env=prod", "fleet.dev.cmd.site.berlin"),
        ("cap=echo", "fleet.dev.cmd.cap.echo"),
        ("agent=a1,site=berlin", "fleet.dev.cmd.agent.a1"),
        ("agent in (a1,a2)", "fleet.dev.cmd.all"),
    ],
)
def test_subject_is_the_narrowest(select: str, subject: str) -> None:
    assert subject_of(Subjects("dev"), narrowest(Selector.parse(select))) == subject


def test_tally_counts_only_last_answers() -> None:
    tally = Tally({"a", "b", "c"})
    states: list[tuple[str, ReplyState, bool]] = [
        ("a", "accepted", True),
        ("a", "ok", True),
        ("a", "failed", False),
        ("a", "accepted", False),
        ("b", "accepted", True),
        ("b", "accepted", False),
        ("x", "rejected", True),
    ]
    for agent, state, news in states:
        assert tally.take(Reply(agent, state)) is news
    assert tally.answered == 1
    assert tally.succeeded == 1
    assert tally.outstanding == ["b", "c"]
    assert tally.failed == ["x"]
    assert tally.unexpected == {"x"}


async def test_three_hundred_agents_answer(nats_url: str, fleet: str, client: Client) -> None:
    async with crowd(nats_url, fleet) as gathered:
        await gathered.add(*[card(name) for name in names(300)])
        broadcast = client.broadcast("reload", {"index": 7}, timeout=10)
        assert await broadcast.freeze() == set(names(300))
        replies = await collect(aiter(broadcast))
        tally = broadcast.tally
        assert len(replies) == tally.answered == tally.succeeded == 300
        assert tally.outstanding == tally.failed == []
        assert tally.unexpected == set()
        assert 0 < tally.elapsed < 5
        assert replies[0].output == {"verb": "reload", "index": 7}
        ((subject, command),) = gathered.commands
        assert subject == f"fleet.{fleet}.cmd.all"
        assert command.issued_by
        assert 0 < command.expires_ms / 1000 - time.time() < 11


async def test_a_selector_is_evaluated_by_each(nats_url: str, fleet: str, client: Client) -> None:
    async with crowd(nats_url, fleet) as gathered:
        cards = [card(n, "berlin" if i % 2 else "oslo") for i, n in enumerate(names(100))]
        await gathered.add(*cards)
        broadcast = client.broadcast("ping", select="site=berlin", timeout=10)
        replies = await collect(aiter(broadcast))
        assert {r.agent for r in replies} == {c.agent for c in cards if c.site == "berlin"}
        assert [subject for subject, _ in gathered.commands] == [f"fleet.{fleet}.cmd.site.berlin"]


async def test_failed_outstanding_and_unexpected_are_named(
    nats_url: str, fleet: str, client: Client
) -> None:
    def some(card: Card, command: Command) -> list[Reply]:
        match card.agent:
            case "a001":
                return []
            case "a002":
                return [Reply(card.agent, "failed", command.id, error="no disk")]
            case "a003":
                return [Reply(card.agent, "rejected", command.id, error="unknown verb")]
            case "a004":
                return [Reply(card.agent, "accepted", command.id)]
            case "a005":
                return [Reply(card.agent, "accepted", command.id), *ok(card, command)]
        return ok(card, command)

    async with crowd(nats_url, fleet, some) as gathered:
        await gathered.add(*[card(name) for name in names(200)])
        await gathered.add(card("new"), registered=False)
        broadcast = client.broadcast("ping", timeout=0.5)
        await collect(aiter(broadcast))
        tally = broadcast.tally
        assert tally.outstanding == ["a001", "a004"]
        assert tally.failed == ["a002", "a003"]
        assert tally.unexpected == {"new"}
        assert tally.answered == 198
        assert tally.succeeded == 196
        assert tally.replies["a002"].error == "no disk"


async def test_it_ends_when_all_have_answered(nats_url: str, fleet: str, client: Client) -> None:
    async with crowd(nats_url, fleet) as gathered:
        await gathered.add(card("a1"), card("a2"))
        for options in ({}, {"select": "agent=a1"}, {"limit": 1}, {"batch": 1}):
            async with asyncio.timeout(5):
                await collect(aiter(client.broadcast("ping", timeout=60, **options)))


async def test_an_agent_that_is_gone_is_outstanding_and_not_waited_for(
    nats_url: str, fleet: str, client: Client
) -> None:
    async with crowd(nats_url, fleet) as gathered:
        await gathered.add(card("here"))
        await gathered.add(card("gone"), deaf=True)
        for options in ({"limit": 2}, {"batch": 2}, {"batch": 1}, {"select": "agent=gone"}):
            broadcast = client.broadcast("ping", timeout=60, **options)
            async with asyncio.timeout(5):
                await collect(aiter(broadcast))
            assert broadcast.tally.outstanding == ["gone"]


async def test_nobody_listens_at_all(client: Client) -> None:
    key = client.bus.subjects.registry_keys
    await store.publish(client.bus, f"{key}a1", codec.encode(card("a1")))
    broadcast = client.broadcast("ping", timeout=60)
    async with asyncio.timeout(5):
        assert await collect(aiter(broadcast)) == []
    assert broadcast.tally.outstanding == ["a1"]


async def test_a_limit_addresses_the_chosen_only(nats_url: str, fleet: str, client: Client) -> None:
    async with crowd(nats_url, fleet) as gathered:
        await gathered.add(*[card(name) for name in names(50)])
        broadcast = client.broadcast("ping", limit=0.1, seed=3, timeout=10)
        replies = await collect(aiter(broadcast))
        chosen = limited(names(50), 0.1, 3)
        assert sorted(reply.agent for reply in replies) == chosen
        assert sorted(s for s, _ in gathered.commands) == [
            f"fleet.{fleet}.cmd.agent.{agent}" for agent in chosen
        ]


async def test_batches_go_one_after_the_other(nats_url: str, fleet: str, client: Client) -> None:
    answered = 0
    most_open = 0

    async with crowd(nats_url, fleet) as gathered:

        def counting(card: Card, command: Command) -> list[Reply]:
            nonlocal most_open
            most_open = max(most_open, len(gathered.commands) - answered)
            return ok(card, command)

        gathered.answer = counting
        await gathered.add(*[card(name) for name in names(25)])
        begun = time.monotonic()
        broadcast = client.broadcast("ping", batch=10, batch_pause=0.1, timeout=10)
        async for _ in broadcast:
            answered += 1
        assert answered == 25
        assert most_open <= 10
        # Three batches have two pauses between them, and none after the last.
        assert 0.2 <= time.monotonic() - begun < 0.3 + 2
        assert len({command.id for _, command in gathered.commands}) == 1


async def test_a_batch_that_does_not_answer_is_passed(
    nats_url: str, fleet: str, client: Client
) -> None:
    def not_the_first(card: Card, command: Command) -> list[Reply]:
        return [] if card.agent == "a000" else ok(card, command)

    async with crowd(nats_url, fleet, not_the_first) as gathered:
        await gathered.add(*[card(name) for name in names(3)])
        broadcast = client.broadcast("ping", batch=1, timeout=0.2)
        assert [r.agent for r in await collect(aiter(broadcast))] == ["a001", "a002"]
        assert broadcast.tally.outstanding == ["a000"]


async def test_garbage_for_a_reply_is_counted(nats_url: str, fleet: str, client: Client) -> None:
    def forged(card: Card, command: Command) -> list[Reply]:
        return [Reply(card.agent, "ok", "another-command"), *ok(card, command)]

    async with crowd(nats_url, fleet, forged) as gathered:
        await gathered.add(card("a1"))
        replies = await collect(aiter(client.broadcast("ping", timeout=10)))
        assert len(replies) == 1
        assert client.bus.dropped == 1


async def test_nobody_matches(nats_url: str, fleet: str, client: Client) -> None:
    async with crowd(nats_url, fleet) as gathered:
        with pytest.raises(NoAgent, match=f"fleet '{fleet}' has no agent$"):
            await client.broadcast("ping").freeze()
        await gathered.add(card("a1"))
        with pytest.raises(NoAgent, match="matches 'gpu'"):
            await client.broadcast("ping", select="gpu").freeze()


async def test_a_broadcast_is_sent_once(nats_url: str, fleet: str, client: Client) -> None:
    async with crowd(nats_url, fleet) as gathered:
        await gathered.add(card("a1"))
        broadcast = client.broadcast("ping", timeout=10)
        await collect(aiter(broadcast))
        with pytest.raises(FleetError, match="was sent already"):
            await collect(aiter(broadcast))
        assert len(gathered.commands) == 1


async def test_bad_arguments_are_refused_at_once(client: Client) -> None:
    with pytest.raises(InvalidName):
        client.broadcast("two words")
    with pytest.raises(InvalidSelector):
        client.broadcast("ping", select="a=")
    for options in (
        {"limit": 0},
        {"limit": -1},
        {"limit": 0.0},
        {"limit": 1.1},
        {"batch": 0},
        {"batch_pause": -1.0},
        {"timeout": 0},
        {"timeout": float("nan")},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            client.broadcast("ping", **options)
