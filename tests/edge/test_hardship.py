"""What must not cost an edge agent a slot, its place in the fleet, or its peace."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest

from bus import Bus, Client, store
from bus.errors import TaskFailed
from bus.testing import eventually
from bus.transport import Inbound
from coordinator import Coordinator
from edge import Agent, Retry, Task
from edge.errors import BusError
from edge.outbox import Outbox
from edge.runtime import Runtime
from edge.spool import Spool
from tests.support.edge import running


def declared() -> Agent:
    agent = Agent("e1", grace=0.2)

    @agent.capability("again", params={"after": object})
    async def again(task: Task, after: Any) -> None:
        raise Retry("once more", after=math.nan if after == "nan" else after)

    @agent.capability("make", params={"size": int})
    async def make(task: Task, size: int) -> bytes:
        return b"x" * size

    return agent


@pytest.mark.parametrize("after", ["nan", "5", -1, 1e9])
async def test_a_retry_that_cannot_be_fails_the_task_and_frees_the_slot(
    nats_url: str, client: Client, coordinator: Coordinator, after: Any
) -> None:
    fleet = client.bus.subjects.fleet
    async with running(declared(), nats_url, fleet) as runtime:
        with pytest.raises(TaskFailed, match="Retry"):
            await (await client.submit("again", {"after": after})).result(5)
        await eventually(lambda: not runtime.load.running and not runtime.intake.held)


async def test_a_card_larger_than_what_is_taken_is_no_reason_to_register_again(
    nats_url: str, bus: Bus
) -> None:
    adverts: list[Inbound] = []
    await bus.listen(bus.subjects.advert("e1"), adverts.append)
    await bus.flush()
    async with running(declared(), nats_url, bus.subjects.fleet, largest=64):
        await asyncio.sleep(0.5)
        assert len(adverts) == 1


async def test_what_was_kept_for_another_fleet_does_not_hold_up_this_one(
    nats_url: str, bus: Bus, tmp_path: Path
) -> None:
    folder = str(tmp_path / "spool")
    spool = Spool(folder)
    spool.open()
    old = Outbox(Runtime(declared(), {}), spool)
    assert old.keep_result(
        "fleet.old.result.m.1", "$JS.ACK.x", [("Fleet-State", "completed")], b"1"
    )
    assert (
        old.keep_result("big", "$JS.ACK.x", [("Fleet-State", "completed")], bytes(2_000_000)) == 0
    )
    old.close()
    async with running(declared(), nats_url, bus.subjects.fleet, spool=folder) as runtime:
        assert runtime.joined
        assert runtime.outbox is not None
        assert runtime.outbox.report()["spooled"] == 1


async def test_whatever_fails_when_it_joins_is_tried_again(nats_url: str, bus: Bus) -> None:
    async with running(declared(), nats_url, bus.subjects.fleet, join=False) as runtime:
        rights = [MemoryError("no heap left"), KeyError("seq")]
        real = runtime.presence.join

        async def join() -> None:
            if rights:
                raise rights.pop()
            await real()

        runtime.presence.join = join  # type: ignore[method-assign]  # fails twice, then does not
        await eventually(lambda: runtime.joined)


async def test_a_piece_whose_answer_was_lost_is_stored_once(
    nats_url: str, client: Client, coordinator: Coordinator
) -> None:
    fleet = client.bus.subjects.fleet
    async with running(declared(), nats_url, fleet) as runtime:
        real = runtime.client.store
        pieces = 0

        async def store(subject: str, body: bytes = b"", head: Any = ()) -> dict[str, Any]:
            nonlocal pieces
            if ".C." in subject:
                pieces += 1
                # As if the broker had forgotten the ids of messages meanwhile.
                head = [one for one in head if one[0] != "Nats-Msg-Id" or pieces != 3]
                if pieces == 2:
                    await real(subject, body, head)
                    raise BusError("the connection broke")
            return await real(subject, body, head)

        runtime.client.store = store  # type: ignore[method-assign]  # loses an answer
        value = await (await client.submit("make", {"size": 1_500_000})).result(10)
        assert value == b"x" * 1_500_000


async def test_one_reading_that_is_refused_is_not_taken_for_stored(
    nats_url: str, bus: Bus, tmp_path: Path
) -> None:
    fleet = bus.subjects.fleet
    async with running(declared(), nats_url, fleet, spool=str(tmp_path / "s")) as runtime:
        outbox = runtime.outbox
        assert outbox is not None
        subject = bus.subjects.telemetry("default", "e1", "t")
        for number in range(6):
            outbox.keep(subject, json.dumps({"n": number}).encode())
        real = runtime.client.pub
        sent = 0

        def pub(subject: str, body: bytes = b"", head: Any = (), reply: str = "") -> bool:
            nonlocal sent
            sent += ".telemetry." in subject
            return sent != 3 and real(subject, body, head, reply)

        runtime.client.pub = pub  # type: ignore[method-assign]  # no room for the third
        with pytest.raises(BusError):
            await outbox.replay()
        await outbox.replay()
        question = {"seq": 1, "next_by_subj": subject, "batch": 64}
        found = await runtime.client.stored(bus.subjects.telemetry_stream, question, 64)
        assert sorted(json.loads(one.body or b"")["n"] for one in found) == [0, 1, 2, 3, 4, 5]
        assert outbox.report() == {"spooled": 0, "dropped": 0}


async def test_a_probe_without_a_reply_does_not_cost_the_connection(
    nats_url: str, bus: Bus
) -> None:
    async with running(declared(), nats_url, bus.subjects.fleet) as runtime:
        dispatch = bus.subjects.dispatch("e1")
        bus.send(dispatch, block=b"NATS/1.0\r\nFleet-Probe: x\r\n\r\n")
        await bus.flush()
        answer = await bus.request(dispatch, block=b"NATS/1.0\r\nFleet-Probe: x\r\n\r\n")
        assert answer.headers["Fleet-Incarnation"] == runtime.incarnation
        assert runtime.client.generation == 1


async def test_a_reading_too_large_for_the_server_is_dropped_and_counted(
    nats_url: str, bus: Bus, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"spool": str(tmp_path / "s"), "spool_bytes": 8_000_000}
    async with running(declared(), nats_url, bus.subjects.fleet, **settings) as runtime:
        outbox = runtime.outbox
        assert outbox is not None
        subject = bus.subjects.telemetry("default", "e1", "t")
        outbox.keep(subject, b'{"n": 1}')
        outbox.keep(subject, b'"%s"' % (b"x" * 1_500_000))
        outbox.keep(subject, b'{"n": 2}')
        await outbox.replay()
        await outbox.send(subject, b'"%s"' % (b"x" * 1_500_000))
        await outbox.send(subject, b'{"n": 3}')
        question = {"seq": 1, "next_by_subj": subject, "batch": 64}
        found = await runtime.client.stored(bus.subjects.telemetry_stream, question, 64)
        assert [json.loads(one.body or b"")["n"] for one in found] == [1, 2, 3]
        assert outbox.report() == {"spooled": 0, "dropped": 2}


class MuteError(Exception):
    """Not even what it says can be asked."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "problem", [SystemExit(4), KeyboardInterrupt(), MuteError()], ids=lambda one: type(one).__name__
)
async def test_what_wants_to_end_the_process_does_not(
    nats_url: str, client: Client, problem: BaseException
) -> None:
    agent = declared()
    name = type(problem).__name__

    @agent.telemetry("t", every=0.01)
    def odd() -> None:
        raise problem

    @agent.command("shout")
    def shout() -> None:
        raise problem

    @agent.on_config("limit")
    def check(new: Any, old: Any) -> None:
        if new is not None:
            raise problem

    bus = client.bus
    async with running(agent, nats_url, bus.subjects.fleet) as runtime:
        await eventually(lambda: name in agent.series[0].failure)
        answers = [one async for one in client.broadcast("shout", timeout=2)]
        assert [one.state for one in answers] == ["failed"]
        assert name in answers[0].error
        key = bus.subjects.config_keys + "layer.global"
        await store.publish(bus, key, b'{"values":{"limit":1}}')
        await eventually(lambda: runtime.presence.standing["rejected"])
        assert runtime.client.generation == 1


async def test_half_a_character_ends_in_a_result_that_can_be_read(
    nats_url: str, client: Client, coordinator: Coordinator
) -> None:
    agent = declared()

    @agent.capability("half", params={"how": str})
    async def half(task: Task, how: str) -> str:
        if how == "raise":
            raise ValueError("\ud800")
        return "\ud800"

    async with running(agent, nats_url, client.bus.subjects.fleet):
        for how in ("raise", "return"):
            with pytest.raises(TaskFailed):
                await (await client.submit("half", {"how": how})).result(5)
