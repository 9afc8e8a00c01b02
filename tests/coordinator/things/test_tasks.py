"""Tasks run on devices that speak only MQTT."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest

from agent_runtime import Agent
from bus import Bus, Client
from bus.errors import TaskCanceled, TaskExpired, TaskFailed, TaskRejected
from bus.testing import eventually
from bus.wire.thing import MAX_BODY, MAX_TASK
from coordinator import Coordinator
from tests.conftest import Join
from tests.coordinator.things.conftest import Make
from tests.coordinator.things.helpers import Beats, count, there
from tests.support.mqtt import echo

pytestmark = pytest.mark.usefixtures("coordinator")


async def test_a_task_makes_the_round_trip(client: Client, bus: Bus, device: Make) -> None:
    relay = await device("relay-1", handle=echo)
    await there(client, "relay-1")
    handle = await client.submit("blink", {"times": 3})
    assert await handle.result(timeout=5) == {"times": 3}
    result = await handle.outcome()
    assert (result.agent, result.attempt, result.run_ms) == ("relay-1", 1, 1.0)
    await eventually(lambda: not relay.unconfirmed)

    async def acknowledged() -> bool:
        tasks = await count(bus, bus.subjects.tasks_stream)
        return tasks + await count(bus, bus.subjects.things_stream) == 0

    await relay.quiet()
    await eventually(acknowledged, 1)  # at once, and not when it is given out again


async def test_bytes_go_both_ways(client: Client, device: Make) -> None:
    def turn(body: dict[str, Any]) -> dict[str, Any]:
        given = base64.b64decode(body["input_base64"])
        assert body["content_type"] == "application/octet-stream"
        return {"output_base64": base64.b64encode(given[::-1]).decode()}

    await device("relay-1", handle=turn)
    await there(client, "relay-1")
    assert (
        await (await client.submit("blink", b"\x00\x01\xff")).result(timeout=5) == b"\xff\x01\x00"
    )


async def test_a_call_is_answered(client: Client, device: Make) -> None:
    await device("relay-1", handle=echo)
    await there(client, "relay-1")
    assert await client.call("blink", {"times": 1}) == {"times": 1}


async def test_many_tasks_over_few_slots(client: Client, device: Make) -> None:
    for number in range(3):
        await device(f"relay-{number}", handle=echo, slots=2)
    await there(client, "relay-0", "relay-1", "relay-2")
    begun = time.monotonic()
    handles = await client.submit_many("blink", [{"n": n} for n in range(200)])
    results = await asyncio.gather(*(one.outcome(20) for one in handles))
    print(f"\n200 tasks over 3 devices of 2 slots: {time.monotonic() - begun:.2f} s")
    assert [one.value() for one in results] == [{"n": n} for n in range(200)]
    assert {one.agent for one in results} == {"relay-0", "relay-1", "relay-2"}
    assert {one.attempt for one in results} == {1}


async def test_a_failure_is_retried_with_another_attempt(client: Client, device: Make) -> None:
    def flaky(body: dict[str, Any]) -> dict[str, Any]:
        if body["attempt"] == 1:
            error = {"message": "no lamp", "kind": "Hardware"}
            return {"state": "failed", "error": error, "retry": True, "after_s": 0.01}
        return echo(body)

    relay = await device("relay-1", handle=flaky)
    await there(client, "relay-1")
    handle = await client.submit("blink", {"times": 3})
    assert (await handle.outcome(5)).attempt == 2
    assert [one["attempt"] for one in relay.bodies("task")] == [1, 2]


async def test_a_failure_that_is_said_again_does_not_cost_the_next_attempt(
    client: Client, device: Make
) -> None:
    relay = await device("relay-1", confirm=False)
    await there(client, "relay-1")
    handle = await client.submit("blink", {}, max_attempts=2)
    await eventually(lambda: handle.id in relay.held)
    failed = {"state": "failed", "retry": True, "after_s": 0.01, "attempt": 1}
    relay.finish(handle.id, **failed)
    await eventually(lambda: relay.held.get(handle.id, {}).get("attempt") == 2)
    relay.publish("result", {"task": handle.id, **failed})
    await eventually(lambda: len(relay.bodies("done")) == 2)
    relay.finish(handle.id, output="at last", attempt=2)
    assert await handle.result(timeout=5) == "at last"


async def test_bytes_that_are_no_base64_end_the_task(client: Client, device: Make) -> None:
    await device("relay-1", handle=lambda _: {"output_base64": "%%%"})
    await there(client, "relay-1")
    with pytest.raises(TaskFailed, match="output_base64"):
        await (await client.submit("blink", {})).result(timeout=5)


async def test_out_of_attempts_is_dead(client: Client, device: Make) -> None:
    error = {"message": "no lamp", "kind": "Hardware"}
    failed = {"state": "failed", "error": error, "retry": True, "after_s": 0.01}
    await device("relay-1", handle=lambda _: dict(failed))
    await there(client, "relay-1")
    handle = await client.submit("blink", {"times": 3}, max_attempts=2)
    with pytest.raises(TaskFailed, match="no lamp"):
        await handle.result(timeout=5)
    (dead,) = [one async for one in client.dead.list()]
    assert (dead.task, dead.attempt, dead.agent, dead.payload) == (
        handle.id,
        2,
        "relay-1",
        b'{"times":3}',
    )


async def test_a_failure_that_is_not_to_be_retried_is_final(client: Client, device: Make) -> None:
    await device(
        "relay-1", handle=lambda _: {"state": "failed", "error": {"message": "burnt\r\nout"}}
    )
    await there(client, "relay-1")
    with pytest.raises(TaskFailed, match="burnt"):
        await (await client.submit("blink", {})).result(timeout=5)


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"{nonsense", "input"), (b'"' + b"x" * MAX_TASK + b'"', "bytes, and a thing takes")],
    ids=["no JSON", "too big"],
)
async def test_what_cannot_be_sent_to_a_device_is_rejected(
    client: Client, bus: Bus, device: Make, data: bytes, why: str
) -> None:
    relay = await device("relay-1", handle=echo)
    await there(client, "relay-1")
    subjects = bus.subjects
    await bus.request(subjects.task("blink", "p1", "raw.1"), data)

    async def ended() -> Any:
        found = await client.get("raw.1")
        return found if not isinstance(found, str) else None

    result = await eventually(ended)
    assert result.state == "rejected"
    assert why in result.error.message
    # It takes others as if nothing had been.
    assert await (await client.submit("blink", 1)).result(timeout=5) == 1
    assert len(relay.bodies("task")) == 1


async def test_progress_is_passed_on(client: Client, device: Make) -> None:
    relay = await device("relay-1")
    await there(client, "relay-1")
    handle = await client.submit("blink", {})
    (task,) = await eventually(lambda: list(relay.held))

    async def follow() -> list[Any]:
        return [one.value async for one in handle.progress()]

    following = asyncio.create_task(follow())
    for number in (1, 2):
        relay.publish("progress", {"task": task, "seq": number, "value": number * 10})
    relay.finish(task, output=None)
    # Those of one thing are dealt with in order, and kept until somebody asks.
    assert await asyncio.wait_for(following, 5) == [10, 20]


async def test_canceled_is_told_to_the_device(client: Client, bus: Bus, device: Make) -> None:
    relay = await device("relay-1", slots=1)
    await there(client, "relay-1")
    handle = await client.submit("blink", {})
    (task,) = await eventually(lambda: list(relay.held))
    assert await handle.cancel("not now")
    cancel = await eventually(lambda: relay.bodies("cancel"))
    assert cancel == [{"task": task, "reason": "not now"}]
    with pytest.raises(TaskCanceled):
        await handle.result(timeout=5)
    # Its own word comes too late, and frees its slot.
    relay.finish(task, state="canceled")
    await eventually(lambda: not relay.unconfirmed)
    second = await client.submit("blink", {})
    await eventually(lambda: second.id in relay.held)
    relay.finish(second.id, output=2)
    assert await second.result(timeout=5) == 2


async def test_a_deadline_ends_what_a_device_holds(client: Client, device: Make) -> None:
    relay = await device("relay-1", slots=1)
    await there(client, "relay-1")
    handle = await client.submit("blink", {}, deadline=0.5)
    await eventually(lambda: handle.id in relay.held)
    with pytest.raises(TaskExpired):
        await handle.result(timeout=5)
    await eventually(lambda: relay.bodies("cancel"))


async def test_a_repeated_result_is_one(client: Client, bus: Bus, device: Make) -> None:
    relay = await device("relay-1")
    await there(client, "relay-1")
    handle = await client.submit("blink", {})
    await eventually(lambda: handle.id in relay.held)
    body = {"task": handle.id, "state": "completed", "output": 1}
    for output in (1, 2, 3):
        relay.publish("result", {**body, "output": output})
    assert await handle.result(timeout=5) in (1, 2, 3)
    await eventually(lambda: len(relay.bodies("done")) == 3)
    stored = await count(bus, bus.subjects.results_stream)
    assert stored == 1


async def test_a_task_that_never_reached_the_device_is_sent_again(
    client: Client, device: Make
) -> None:
    relay = await device("relay-1")
    await there(client, "relay-1")
    handle = await client.submit("blink", {"times": 3})
    await eventually(lambda: handle.id in relay.held)
    relay.held.clear()  # as if the device had never got it: its states do not list it
    again = await eventually(lambda: relay.held.get(handle.id), 8)
    assert again["input"] == {"times": 3}
    relay.finish(handle.id, output=1)
    assert await handle.result(timeout=5) == 1


async def test_a_task_lives_as_long_as_the_device_says_so(
    nats_url: str, client: Client, bus: Bus, device: Make, join: Join
) -> None:
    relay = await device("relay-1")
    beats = await Beats().listen(bus)
    await there(client, "relay-1")
    handle = await client.submit("blink", {})
    await eventually(lambda: handle.id in relay.held)
    await eventually(lambda: beats.last.running == 1)
    assert beats.last.next_in <= 10 / 3 + 0.01
    relay.finish(handle.id, output=1)
    assert await handle.result(timeout=5) == 1
    await eventually(lambda: beats.last.done)
    last = beats.last
    assert (last.running, last.window, sum(last.accepted.values())) == (0, 2, 1)


async def test_an_agent_and_a_thing_share_a_capability(
    client: Client, device: Make, join: Join
) -> None:
    agent = Agent("server-1")

    @agent.capability("blink")
    async def blink(times: int) -> str:
        return f"{times} on a server"

    await device("relay-1", handle=lambda body: {"output": f"{body['input']['times']} here"})
    await join(agent)
    await there(client, "relay-1", "server-1")
    for select, output in (("link=mqtt", "3 here"), ("agent=server-1", "3 on a server")):
        handle = await client.submit("blink", {"times": 3}, select=select)
        assert await handle.result(timeout=5) == output


async def test_a_device_rejects(client: Client, device: Make) -> None:
    error = {"message": "times is 1 to 9", "kind": "InvalidInput"}
    await device("relay-1", handle=lambda _: {"state": "rejected", "error": error})
    await there(client, "relay-1")
    with pytest.raises(TaskRejected, match="times is 1 to 9"):
        await (await client.submit("blink", {})).result(timeout=5)


async def test_a_call_that_is_answered_twice_is_stored_nowhere(
    coordinator: Coordinator, client: Client, bus: Bus, device: Make
) -> None:
    relay = await device("relay-1")
    await there(client, "relay-1")
    calling = asyncio.create_task(client.call("blink", {"times": 1}))
    await eventually(lambda: relay.held)
    (task,) = relay.held
    relay.finish(task, output=1)
    assert await calling == 1
    await eventually(lambda: relay.bodies("done"))
    relay.finish(task, output=2)
    await eventually(lambda: len(relay.bodies("done")) == 2)
    await eventually(lambda: coordinator.things.inbox.refused["result", "not-allowed"] == 1)
    assert await count(bus, bus.subjects.results_stream) == 0


async def test_how_long_it_took_is_measured_if_the_device_does_not_say(
    client: Client, bus: Bus, device: Make
) -> None:
    beats = await Beats().listen(bus)
    relay = await device("relay-1")
    await there(client, "relay-1")
    handle = await client.submit("blink", {})
    await eventually(lambda: handle.id in relay.held)
    begun = time.monotonic()
    await eventually(lambda: time.monotonic() - begun > 0.2)
    relay.finish(handle.id, output=1)
    result = await handle.outcome(5)
    assert 190 <= result.run_ms < 5000
    await eventually(lambda: beats.last.service_ms.get("blink", 0) >= 190)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (b'"state":"done"}', "Invalid enum value 'done'"),
        (b'"state":"completed","output":NaN}', "malformed"),
        (b'"state":"completed","output":"' + b"x" * MAX_BODY["result"] + b'"}', "more than 262144"),
    ],
    ids=["wrong types", "no JSON", "too big"],
)
async def test_a_result_that_cannot_be_read_ends_its_task(
    client: Client, device: Make, rest: bytes, why: str
) -> None:
    relay = await device("relay-1")
    await there(client, "relay-1")
    handle = await client.submit("blink", {})
    await eventually(lambda: handle.id in relay.held)
    relay.publish("result", b'{"task":"%b",%b' % (handle.id.encode(), rest))
    with pytest.raises(TaskFailed, match=why):
        await handle.result(timeout=5)
    await eventually(lambda: relay.bodies("done"))
