"""What an agent makes of a bucket that others write, on a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bus import Bus, Client, store
from bus.testing import eventually
from edge import Agent
from edge.errors import BusError
from edge.runtime import Runtime
from edge.wire import Message
from tests.support.edge import running


async def write(bus: Bus, name: str, values: Any, selector: str = "") -> None:
    body = json.dumps({"values": values, "selector": selector}).encode()
    await store.publish(bus, bus.subjects.config_keys + "layer." + name, body)


def levels(count: int) -> Any:
    """So many mappings, one in the other."""
    made: Any = 1
    for _ in range(count):
        made = {"a": made}
    return made


async def report(client: Client) -> dict[str, Any]:
    [answer] = [one async for one in client.broadcast("config", timeout=2)]
    assert isinstance(answer.output, dict)
    return answer.output


async def rejections(bus: Bus) -> list[Any]:
    subjects = bus.subjects
    found = [
        json.loads(one.data)
        async for one in store.scan(bus, subjects.events_stream, subjects.events)
    ]
    return [one for one in found if one["kind"] == "config.rejected"]


# what this device cannot take


async def test_a_layer_of_too_many_levels_is_rejected_and_the_one_before_stays(
    nats_url: str, client: Client
) -> None:
    bus = client.bus
    agent = Agent("e1")
    async with running(agent, nats_url, bus.subjects.fleet) as runtime:

        def standing() -> str:
            return str(runtime.presence.standing.get("rejected", ""))

        await write(bus, "global", levels(64))
        await eventually(lambda: agent.config == levels(64))
        assert not standing()
        await write(bus, "global", levels(65))
        await eventually(standing)
        assert agent.config == levels(64)
        said = await report(client)
        assert said["state"] == "rejected"
        why = "layer.global: this device takes 64 levels, and it has more"
        assert said["rejected"]["reason"] == why
        assert said["rejected"]["hash"] == standing() != said["hash"]
        assert runtime.intake.state == "ready"
        # Others count all the same, and a good one ends it.
        await write(bus, "fleet", {"b": 2})
        await eventually(lambda: agent.config == {**levels(64), "b": 2})
        assert standing()
        await write(bus, "global", {"c": 3})
        await eventually(lambda: agent.config == {"b": 2, "c": 3})
        assert not standing()
        assert "rejected" not in await report(client)


async def test_one_without_any_good_configuration_says_that_it_takes_no_tasks(
    nats_url: str, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent("e1")

    @agent.on_config("limit")
    def check(new: Any, old: Any) -> None:
        if new is not None and new > 90:
            raise ValueError("this one melts at 90")

    def told() -> list[str]:
        found = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        return [text for text in found if "is not taken" in text]

    rest = "melts at 90; no tasks are taken until one is good"
    await write(bus, "global", {"limit": 91})
    async with running(agent, nats_url, bus.subjects.fleet) as runtime:
        assert runtime.intake.waiting
        [text] = told()
        assert text.endswith(rest)
        await write(bus, "global", {"limit": 80})
        await eventually(lambda: not runtime.intake.waiting)
        await write(bus, "global", {"limit": 92})
        await eventually(lambda: len(told()) == 2)
        assert told()[1].endswith("melts at 90")
        assert not runtime.intake.waiting


async def test_it_is_rejected_by_one_that_starts_with_it_too(nats_url: str, client: Client) -> None:
    bus = client.bus
    await write(bus, "fleet", {"b": 2})
    await write(bus, "global", levels(65))
    await write(bus, "group.10-others", levels(65), "agent=other")
    agent = Agent("e1")
    async with running(agent, nats_url, bus.subjects.fleet) as runtime:
        assert agent.config == {"b": 2}
        assert runtime.presence.standing["rejected"]
        reason = (await report(client))["rejected"]["reason"]
        assert reason == "layer.global: this device takes 64 levels, and it has more"
        await eventually(lambda: rejections(bus))
        assert len(await rejections(bus)) == 1


# a replica that lags


class Lagging:
    """Answers the agent's questions with what was true once; its leader is the real one."""

    def __init__(self, runtime: Runtime) -> None:
        self.fetches = 0
        self.asked = 0
        self.old: list[Message] | None = None
        self.silent = False
        self._fetch, self._request = runtime.config.fetch, runtime.client.request
        runtime.config.fetch = self.fetch  # type: ignore[method-assign]  # no cluster here
        runtime.client.request = self.request  # type: ignore[method-assign]  # counts

    async def fetch(self) -> list[Message]:
        self.fetches += 1
        return await self._fetch() if self.old is None else self.old

    async def request(self, subject: str, *more: Any, **named: Any) -> Message:
        if ".STREAM.MSG.GET." in subject:
            self.asked += 1
            if self.silent:
                raise BusError("no answer")
        return await self._request(subject, *more, **named)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause of seconds between two questions."""
    monkeypatch.setattr("edge.port.uniform", lambda low, high: min(low, 10))


@pytest.mark.usefixtures("quick")
async def test_a_replica_that_lags_is_never_believed(nats_url: str, bus: Bus) -> None:
    agent = Agent("e1")
    await write(bus, "fleet", {"v": 1})
    async with running(agent, nats_url, bus.subjects.fleet) as runtime:
        replica = Lagging(runtime)
        whole = runtime.config.whole()
        replica.old = await replica.fetch()
        await write(bus, "fleet", {"v": 2})
        await eventually(lambda: agent.config == {"v": 2})
        whole.ask()
        await eventually(lambda: replica.asked > 12)
        assert agent.config == {"v": 2}
        replica.old = None
        await write(bus, "global", {"g": 1})
        await eventually(lambda: agent.config == {"v": 2, "g": 1})
        before = replica.asked
        whole.ask()
        await eventually(lambda: replica.fetches > before)
        assert agent.config == {"v": 2, "g": 1}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("silent", [False, True])
async def test_a_bucket_that_counts_anew_is_believed(nats_url: str, bus: Bus, silent: bool) -> None:
    """At once if its leader says so, and in the end if nobody does."""
    agent = Agent("e1")
    for number in range(3):
        await write(bus, "fleet", {"v": number})
    async with running(agent, nats_url, bus.subjects.fleet) as runtime:
        replica = Lagging(runtime)
        replica.silent = silent
        stream = bus.subjects.config_stream
        await bus.api(f"STREAM.PURGE.{stream}", {})
        replica.old = []
        runtime.config.whole().ask()
        await eventually(lambda: runtime.config.whole()._kept)
        assert agent.config == {"v": 2}  # what is lost takes nothing away
        assert replica.fetches == (9 if silent else 2)
        assert replica.asked == (7 if silent else 1)
