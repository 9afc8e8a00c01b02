"""What the conformance suite does not see of an edge agent that has joined a real fleet."""

from __future__ import annotations

import asyncio
import functools
import io
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bus import Bus, Client, codec, store
from bus.testing import eventually
from bus.wire.card import Card
from bus.wire.heartbeat import FleetPolicy, Heartbeat
from bus.wire.telemetry import Telemetry
from coordinator import Coordinator
from edge import Agent, Retry, Task, port
from edge.client import HEADROOM
from edge.client import Client as EdgeClient
from edge.settings import load
from tests.support.edge import running


def declared(**more: Any) -> Agent:
    agent = Agent("e1", grace=0.2, **more)

    @agent.capability("echo", params={"value": object})
    async def echo(task: Task, value: object) -> object:
        return value

    @agent.capability("sleep", params={"seconds": float})
    async def sleep(task: Task, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    return agent


async def adopt(bus: Bus, policy: FleetPolicy) -> None:
    await store.publish(bus, bus.subjects.config_keys + "policy", codec.encode(policy))


async def heard(bus: Bus) -> list[Heartbeat]:
    """Heartbeats from now on, as they come."""
    found: list[Heartbeat] = []

    async def take(message: Any) -> None:
        found.append(codec.decode(Heartbeat, message.data))

    await bus.nc.subscribe(bus.subjects.heartbeats, cb=take)
    await bus.nc.flush()
    return found


# presence


@pytest.mark.parametrize(("profile", "stretches"), [("lan", False), ("wan", True), ("edge", True)])
async def test_an_idle_agent_on_a_costly_link_says_less_and_less(
    nats_url: str, bus: Bus, coordinator: Coordinator, profile: str, stretches: bool
) -> None:
    await adopt(bus, FleetPolicy(interval=0.05))
    beats = await heard(bus)
    async with (
        running(declared(), nats_url, bus.subjects.fleet, profile=profile),
        Client.connect(nats_url, bus.subjects.fleet, name="test") as client,
    ):
        await eventually(lambda: len(beats) >= 5)
        promised = [one.next_in for one in beats[:5]]
        assert all(one.interval == 0.05 for one in beats)
        if stretches:
            # Twice as long each time, give or take a fifth; the first two may differ in more.
            assert promised[4] > promised[3] > promised[2] > 0.07, promised
            assert promised[4] >= 0.4 * 0.8, promised
        else:
            assert max(promised) <= 0.05 * 1.2 + 0.001, promised
        said = len(beats)
        await client.call("echo", {"value": 1})
        await eventually(lambda: any(one.done for one in beats[said:]))
        again = next(one for one in beats[said:] if one.done)
        assert again.next_in <= 0.05 * 1.2 + 0.001  # what has changed is worth a word again


async def test_what_fades_by_itself_is_no_news(
    nats_url: str, bus: Bus, coordinator: Coordinator
) -> None:
    await adopt(bus, FleetPolicy(interval=0.05))
    beats = await heard(bus)
    async with (
        running(declared(), nats_url, bus.subjects.fleet, profile="wan"),
        Client.connect(nats_url, bus.subjects.fleet, name="test") as client,
    ):
        await client.call("sleep", {"seconds": 0.3})
        await eventually(lambda: beats and beats[-1].done == 1 and beats[-1].next_in > 0.3)
        known = [one.service_ms["sleep"] for one in beats if one.done]
        assert known[-1] < known[0], "it has not faded: this shows nothing"


async def test_a_profile_for_costly_links_asks_for_a_longer_lease(nats_url: str, bus: Bus) -> None:
    async with running(declared(), nats_url, bus.subjects.fleet, profile="edge"):
        entry = await store.last(
            bus, bus.subjects.registry_stream, bus.subjects.registry_keys + "e1"
        )
        assert entry is not None
        assert entry.headers.get("Nats-TTL") == "3600s"


async def test_the_watchdog_is_fed(nats_url: str, fleet: str) -> None:
    fed: list[int] = []
    agent = declared(watchdog=lambda: fed.append(1), watchdog_every=0.01)
    async with running(agent, nats_url, fleet):
        before = len(fed)
        await eventually(lambda: len(fed) > before + 5)
    after = len(fed)
    await asyncio.sleep(0.05)
    assert len(fed) == after  # who has stopped must be found out


# intake


async def test_no_task_is_taken_without_the_heap_that_is_reserved(
    nats_url: str,
    client: Client,
    coordinator: Coordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = [100_000]
    monkeypatch.setattr(port, "usage", lambda: {"heap": 1, "heap_free": free[0], "heap_peak": 2})
    fleet = client.bus.subjects.fleet
    async with running(declared(), nats_url, fleet, heap_reserve=50_000) as runtime:
        assert await (await client.submit("echo", {"value": 1})).result(5) == 1
        free[0] = 49_999
        handle = await client.submit("echo", {"value": 2})
        answer = await runtime.client.request(
            f"fleet.{fleet}.dispatch.e1",
            b'{"value":3}',
            [("Fleet-Capability", "echo"), ("Fleet-Task", "x.1"), ("Fleet-Reply", "nobody")],
        )
        assert answer.headers["Fleet-Busy"] == "full"
        assert not handle.finished.done()
        assert runtime.load.report()["done"] == 1
        free[0] = 50_000
        runtime.presence.poke()
        assert await handle.result(10) == 2


async def test_an_input_that_is_too_large_is_rejected_whichever_way_it_comes(
    nats_url: str, client: Client, coordinator: Coordinator
) -> None:
    async with running(declared(), nats_url, client.bus.subjects.fleet, largest=2000) as runtime:
        for size in (3000, 1_500_000):  # in the message, and beside it
            handle = await client.submit("echo", {"value": "x" * size})
            outcome = await handle.outcome(10)
            assert outcome.state == "rejected"
            assert outcome.error is not None
            assert outcome.error.kind == "InvalidInput"
            assert "bytes: this device takes 2000" in outcome.error.message
        assert await (await client.submit("echo", {"value": "x" * 1900})).result(5) == "x" * 1900
        await eventually(lambda: not runtime.intake.held)


async def test_a_result_larger_than_the_buffer_arrives(
    nats_url: str, client: Client, coordinator: Coordinator
) -> None:
    agent = declared()

    @agent.capability("make", params={"size": int})
    async def make(task: Task, size: int) -> bytes:
        return bytes(size)

    async with running(agent, nats_url, client.bus.subjects.fleet, buffer=20_000):
        for size in (19_000, 300_000, 1_200_000):
            assert await (await client.submit("make", {"size": size})).result(10) == bytes(size)


GARBAGE = [
    [("Fleet-Task", "x")],
    [("Fleet-Task", "x.1"), ("Fleet-Ack", "elsewhere")],
    [("Fleet-Task", "x.1"), ("Fleet-Ack", "$JS.ACK.a.b.c.d.e.f.g")],
    [("Fleet-Task", "x.1"), ("Fleet-Ack", "$JS.ACK.S.c.1.1.1.1.0 x")],
    [("Fleet-Task", "x.1"), ("Fleet-Reply", "r"), ("Fleet-Attempt", "-1")],
    [("Fleet-Task", "x.1"), ("Fleet-Reply", "r"), ("Fleet-Deadline", "soon")],
    [("Fleet-Task", "x.1"), ("Fleet-Reply", "r"), ("Fleet-Attempt", "²")],
    [("Fleet-Task", "x.1"), ("Fleet-Reply", "r"), ("Fleet-Attempt", "9" * 5000)],
    [("Fleet-Task", "x.1"), ("Fleet-Ack", "$JS.ACK.S.c.².1.1.1.0")],
]


@pytest.mark.parametrize("head", GARBAGE)
async def test_a_dispatch_that_cannot_be_read_is_refused_as_such(
    nats_url: str, fleet: str, head: list[tuple[str, str]]
) -> None:
    async with running(declared(), nats_url, fleet) as runtime:
        subject = f"fleet.{fleet}.dispatch.e1"
        answer = await runtime.client.request(
            subject, b"", [("Fleet-Capability", "echo"), *head], timeout=0.2
        )
        assert answer.headers["Fleet-Busy"] == "malformed"
        assert runtime.client.dropped == 1
        assert not runtime.intake.held


# handlers


async def test_a_plain_function_runs_beside_and_keeps_its_slot_until_its_thread_ends(
    nats_url: str, client: Client, coordinator: Coordinator
) -> None:
    agent = Agent("e1", grace=0.2, queue=2)
    go, seen = threading.Event(), threading.Event()
    threads: list[int] = []

    @agent.capability("block", params={"wait": bool})
    def block(task: Task, wait: bool) -> str:
        threads.append(threading.get_ident())
        task.progress("from a thread")
        if wait:
            while not task.canceled and not go.is_set():
                time.sleep(0.005)
            seen.set()
            go.wait(10)
        return "done"

    async with running(agent, nats_url, client.bus.subjects.fleet) as runtime:
        try:
            first = await client.submit("block", {"wait": True})
            await eventually(lambda: threads)
            second = await client.submit("block", {"wait": False})
            await eventually(lambda: len(runtime.intake.held) == 2)
            assert (await runtime.client.request("$SRV.PING.fleetbus-agent")).body
            assert await first.cancel("enough")
            assert (await first.outcome(5)).state == "canceled"
            await eventually(seen.is_set)
            await eventually(lambda: len(runtime.intake.held) == 1)
            report = runtime.load.report()
            assert (report["running"], report["queued"], report["done"]) == (1, 1, 0)
            assert not second.finished.done()
        finally:
            go.set()
        assert await second.result(5) == "done"
        assert threading.get_ident() not in threads
        await eventually(lambda: runtime.load.report()["done"] == 2)


BAD_ENDS: list[Any] = [
    ("nan", lambda task: float("nan"), "ValueError"),
    ("object", lambda task: object(), "TypeError"),
    ("stop iteration", lambda task: next(iter(())), "RuntimeError"),
    ("exit", lambda task: exit(3), "SystemExit"),
]


def usage(amount: Any) -> Callable[[Task], str]:
    def use(task: Task) -> str:
        task.usage(cost=amount)
        return "done"

    return use


class Torn(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise RuntimeError("the card was taken out")


class Gone(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise SystemExit(3)


class MuteError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class MuteRetry(Retry):
    __str__ = MuteError.__str__


def raising(problem: BaseException) -> Callable[[Task], Any]:
    def fail(task: Task) -> None:
        raise problem

    return fail


def raising_async(problem: BaseException) -> Callable[[Task], Any]:
    async def fail(task: Task) -> None:
        raise problem

    return fail


BAD_ENDS += [
    pytest.param("ctrl-c", raising(KeyboardInterrupt()), "KeyboardInterrupt"),
    pytest.param("async ctrl-c", raising_async(KeyboardInterrupt()), "KeyboardInterrupt"),
    pytest.param("async exit", raising_async(SystemExit(3)), "SystemExit"),
    pytest.param("mute", raising(MuteError()), "MuteError"),
    pytest.param("async mute", raising_async(MuteError()), "MuteError"),
    pytest.param("mute retry", raising_async(MuteRetry()), "Retry"),
    pytest.param("file that exits", lambda task: Gone(), "SystemExit"),
    pytest.param("usage of nan", usage(float("nan")), "ValueError"),
    pytest.param("usage of a decimal", usage(Decimal("0.1")), "TypeError"),
    pytest.param("torn file", lambda task: Torn(), "RuntimeError"),
]


@pytest.mark.parametrize(("name", "handler", "kind"), BAD_ENDS)
async def test_whatever_a_handler_does_the_task_ends(
    nats_url: str,
    client: Client,
    coordinator: Coordinator,
    name: str,
    handler: Callable[[Task], Any],
    kind: str,
) -> None:
    agent = declared()
    agent.capability("odd", params={})(handler)
    async with running(agent, nats_url, client.bus.subjects.fleet) as runtime:
        outcome = await (await client.submit("odd", {}, max_attempts=1)).outcome(0.4)
        assert outcome.state == "failed"
        assert outcome.error is not None
        assert outcome.error.kind == kind
        assert await (await client.submit("echo", {"value": 1})).result(5) == 1
        await eventually(lambda: not runtime.load.running and not runtime.intake.held)


async def test_an_output_that_fits_only_without_its_headers_comes_whole(
    nats_url: str, client: Client, coordinator: Coordinator
) -> None:
    agent = declared()

    @agent.capability("wide", params={"size": int})
    async def wide(task: Task, size: int) -> bytes:
        task.usage(**{"\xe9" * 62 + f"{number:02}": 1.0 for number in range(32)})
        return bytes(size)

    size = client.bus.max_payload - HEADROOM
    async with running(agent, nats_url, client.bus.subjects.fleet):
        outcome = await (await client.submit("wide", {"size": size})).outcome(5)
    assert (outcome.state, len(outcome.output)) == ("completed", size)
    assert len(outcome.usage) == 32


@pytest.mark.parametrize("year", [2001, 2040])
async def test_a_device_with_a_wrong_clock_goes_by_the_brokers(
    nats_url: str,
    client: Client,
    coordinator: Coordinator,
    monkeypatch: pytest.MonkeyPatch,
    year: int,
) -> None:
    wrong = int((year - 1970) * 365.25 * 86_400_000)
    monkeypatch.setattr(port, "unix_ms", lambda: wrong)
    beats = await heard(client.bus)
    async with running(declared(queue=1), nats_url, client.bus.subjects.fleet) as runtime:
        await eventually(lambda: runtime.clock.set)
        assert abs(runtime.now() - time.time() * 1000) < 1000
        handle = await client.submit("sleep", {"seconds": 0.01}, deadline=30)
        assert (await handle.outcome(5)).state == "completed"
        handle = await client.submit("sleep", {"seconds": 30}, deadline=0.3)
        outcome = await handle.outcome(5)
        assert outcome.state == "expired"
        assert outcome.agent == "e1"
        await eventually(lambda: abs(beats[-1].sent_ms - time.time() * 1000) < 5000)


@pytest.mark.parametrize(("clock", "first"), [(0, 0), (946_684_800_000, 0), (2**41, 2**41)])
async def test_no_card_has_an_age_by_a_clock_that_was_never_set(
    nats_url: str, bus: Bus, monkeypatch: pytest.MonkeyPatch, clock: int, first: int
) -> None:
    monkeypatch.setattr(port, "unix_ms", lambda: clock)
    started: list[int] = []

    def heard(message: Any) -> None:
        started.append(codec.decode(Card, message.data).started_ms)

    await bus.listen(bus.subjects.advert("e1"), heard)
    await bus.flush()
    async with running(declared(), nats_url, bus.subjects.fleet):
        await eventually(lambda: len(started) == 2)
        assert started[0] == first
        assert abs(started[1] - time.time() * 1000) < 5000


# readings


async def read(bus: Bus) -> list[Telemetry]:
    subjects = bus.subjects
    found = [one async for one in store.scan(bus, subjects.telemetry_stream, subjects.telemetries)]
    return [codec.decode(Telemetry, one.data) for one in found]


async def test_readings_arrive_batched_in_order_and_to_the_last(nats_url: str, bus: Bus) -> None:
    agent = declared(site="berlin")
    taken: list[int] = []

    @agent.telemetry("count", every=0.02, batch=3, unit="1")
    def count() -> int:
        taken.append(len(taken))
        return taken[-1]

    @agent.telemetry("door", every=0.02, deadband=1)
    async def door() -> bool:
        return True

    begun = time.time() * 1000
    async with running(agent, nats_url, bus.subjects.fleet):
        await eventually(lambda: len(taken) >= 11)
    found = await read(bus)
    counts = [one for one in found if one.series == "count"]
    values = [value for one in counts for _, value in one.readings]
    assert values == taken
    assert all(1 <= len(one.readings) <= 3 for one in counts)
    assert len(counts) <= len(taken) / 2
    assert {(one.agent, one.site, one.unit) for one in counts} == {("e1", "berlin", "1")}
    times = [one.at_ms + at for one in counts for at, _ in one.readings]
    assert times == sorted(times)
    assert begun - 1000 < times[0] < time.time() * 1000 + 1000
    doors = [value for one in found if one.series == "door" for _, value in one.readings]
    assert doors == [True]


async def test_a_sensor_that_fails_harms_no_other_reading(
    nats_url: str, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    agent = declared()
    script: list[Any] = [1, OSError("no answer"), OSError("no answer"), float("nan"), 2, b"x", 3]

    @agent.telemetry("t", every=0.01, batch=3)
    def sense() -> Any:
        one = script.pop(0) if script else None
        if isinstance(one, Exception):
            raise one
        return one

    async with running(agent, nats_url, bus.subjects.fleet):
        await eventually(lambda: not script)
    assert [value for one in await read(bus) for _, value in one.readings] == [1, 2, 3]
    assert caplog.text.count("telemetry t: OSError: no answer") == 1


async def test_a_sensor_that_falls_silent_does_not_hold_its_batch_back(
    nats_url: str, bus: Bus
) -> None:
    agent = declared()
    script = [1, 2]

    @agent.telemetry("t", every=0.01, batch=5)
    def sense() -> int | None:
        return script.pop(0) if script else None

    async with running(agent, nats_url, bus.subjects.fleet):
        await eventually(lambda: read(bus), timeout=0.2)


async def test_readings_of_a_device_without_a_clock_have_the_brokers_time(
    nats_url: str, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "unix_ms", lambda: 946_684_800_000)
    monkeypatch.setattr(port, "uniform", lambda low, high: low)
    agent = declared()
    taken: list[int] = []

    @agent.telemetry("t", every=0.01, batch=2)
    def sense() -> int:
        taken.append(1)
        return len(taken)

    async with running(agent, nats_url, bus.subjects.fleet):
        await eventually(lambda: len(taken) > 5)
    now = time.time() * 1000
    for one in await read(bus):
        assert abs(one.at_ms - now) < 10_000
        assert all(0 <= at < 10_000 for at, _ in one.readings)


# configuration


ODD_LAYERS = [
    b"",
    b"{",
    b"[]",
    b'{"values":[]}',
    b'{"values":{"a":NaN}}',
    b'{"values":{"a":1e999}}',
    b'{"values":{"a":"\\ud800"}}',
    b'{"values":{"a":' + b"[" * 300 + b"]" * 300 + b"}}",
    b'{"values":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    b'{"values":{"a":1},"selector":"=="}',
    b'{"values":{"a":1},"selector":5}',
]


@pytest.mark.parametrize("layer", ODD_LAYERS, ids=lambda one: repr(one[:40]))
async def test_a_layer_that_cannot_be_used_keeps_nobody_from_joining(
    nats_url: str, bus: Bus, layer: bytes
) -> None:
    key = bus.subjects.config_keys + "layer."
    await store.publish(bus, key + "fleet", b'{"values":{"limit":1.5}}')
    await store.publish(bus, key + "global", layer)
    agent = declared()
    async with running(agent, nats_url, bus.subjects.fleet) as runtime:
        assert agent.config == {"limit": 1.5}
        await store.publish(bus, key + "fleet", b'{"values":{"limit":0.00001}}')
        await eventually(lambda: agent.config == {"limit": 0.00001})
        await store.publish(bus, key + "fleet", layer)
        await store.publish(bus, key + "instance.e1", b'{"values":{"b":true}}')
        await eventually(lambda: agent.config.get("b") is True)
        assert runtime.joined


async def test_a_text_that_looks_like_our_numbers_keeps_nobody_from_joining(
    nats_url: str, bus: Bus
) -> None:
    key = bus.subjects.config_keys + "layer.fleet"
    await store.publish(bus, key, b'{"values":{"name":"\\u0001nobody"}}')
    agent = declared()
    async with running(agent, nats_url, bus.subjects.fleet):
        assert agent.config == {"name": "\x01nobody"}


# how it is declared


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": 1}, "there is no setting port"),
        ({"ping": 0}, "argument ping"),
        ({"url": "http://x"}, "argument url"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        declared().run(**settings)


def test_declarations_that_are_refused() -> None:
    agent = declared()
    agent.telemetry("t")(bool)
    agent.command("greet")(print)
    for wrong in (
        lambda: agent.capability("echo"),
        lambda: agent.capability("a b"),
        lambda: agent.capability("x", params={"a": bytes}),
        lambda: agent.telemetry("t"),
        lambda: agent.telemetry("u", every=0),
        lambda: agent.command("ping"),
        lambda: agent.command("greet"),
        lambda: Agent(""),
        lambda: Agent("a.b"),
        lambda: Agent("a", slots=0),
        lambda: Agent("a", queue=-1),
        lambda: Agent("a", site="x y"),
        lambda: Agent("a", labels={"x": 1}),  # type: ignore[dict-item]  # what is refused
    ):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()


async def alone(task: Task) -> None: ...


async def three(task: Task, times: int, colour: str) -> None: ...


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (
            lambda agent: agent.capability("x")(alone),
            r"^capability x: .* with \(task, input\), .* too many positional arguments; "
            r"with params={} a handler is given the task alone$",
        ),
        (
            lambda agent: agent.capability("x", params={"times": int})(three),
            r"^capability x: .* with \(task, times=\), .* required argument: 'colour'$",
        ),
        (
            lambda agent: agent.capability("x", params={"size": int})(alone),
            r"with \(task, size=\), .* unexpected keyword argument 'size'$",
        ),
        (lambda agent: agent.capability("x", params={})(lambda: 1), r"with \(task\)"),
        (lambda agent: agent.command("x")(alone), r"^command x: .* with \(nothing\)"),
        (lambda agent: agent.telemetry("x")(alone), r"^telemetry x: .* with \(nothing\)"),
        (lambda agent: agent.on_config("x")(alone), r"^on_config x: .* with \(new, old\)"),
        (lambda agent: agent.telemetry("x")(5), r"^telemetry x: .* 5 is not a callable object"),
    ],
)
def test_functions_that_could_never_be_called_are_refused(
    declare: Callable[[Agent], Any], said: str
) -> None:
    agent = Agent("e1")
    with pytest.raises(ValueError, match=said):
        declare(agent)
    assert [agent.offers, agent.verbs, agent.callbacks, agent.series] == [{}, {}, [], []]


def test_functions_that_can_be_called_are_taken() -> None:
    agent = Agent("e1")
    agent.capability("alone", params={})(alone)
    agent.capability("three", params={"times": (int, 1), "colour": str})(three)
    agent.capability("whole")(lambda task, value: value)
    agent.capability("any", params={"times": int})(lambda *args, **more: more)
    agent.capability("part")(functools.partial(three, colour="red"))
    agent.telemetry("c")(dict)  # says nothing of what it takes
    agent.on_config()(print)
    assert len(agent.offers) == 5


async def test_a_second_process_with_the_same_id_gives_up(
    nats_url: str, fleet: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(declared(), nats_url, fleet) as first,
        running(declared(), nats_url, fleet, join=False) as second,
    ):
        await eventually(lambda: second.failure)
        assert "agent id e1 is in use by process" in second.failure
        assert not second.joined
        assert first.joined
        probing = EdgeClient(load({"url": nats_url}), "probe")
        task = asyncio.create_task(probing.run())
        try:
            await eventually(lambda: probing.connected)
            head = [("Fleet-Probe", "x")]
            answer = await probing.request(f"fleet.{fleet}.dispatch.e1", b"", head)
            assert answer.headers["Fleet-Incarnation"] == first.incarnation
        finally:
            await probing.close()
            task.cancel()
