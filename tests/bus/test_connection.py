"""One connection: how it fails to come about, breaks, comes back, asks and is answered."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bus import Bus, connect, topology
from bus.answers import Expected
from bus.connection import ApiError
from bus.credentials import shown
from bus.errors import (
    BusError,
    ConnectError,
    DecodeError,
    Disconnected,
    FeatureMissing,
    InvalidName,
    SettingsError,
)
from bus.server import NatsServer
from bus.server_config import ServerConfig
from bus.subjects import DISCONNECTS
from bus.telemetry import Dropped, Happening
from bus.testing import eventually
from bus.transport import Inbound


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    """A server of this test's own, to be stopped and started."""
    async with NatsServer() as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def refused(url: str, **settings: Any) -> ConnectError:
    """The error of a connection that cannot be made."""
    with pytest.raises(ConnectError) as raised:
        async with connect(url, "f", **settings):
            pass
    return raised.value


# not getting there


async def test_nobody_listens() -> None:
    error = await refused(f"nats://127.0.0.1:{free_port()}")
    assert str(error).startswith(f"cannot connect to NATS at {error.url}: connection refused")
    assert "'fleetbus up' starts one" in str(error)


async def test_somebody_listens_and_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = await refused(f"nats://127.0.0.1:{port}", connect_timeout=0.2)
    assert "no answer in time: check the address, and FLEETBUS_CONNECT_TIMEOUT" in str(error)


async def test_somebody_listens_and_is_no_nats_server() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(f"nats://127.0.0.1:{port}", connect_timeout=1.0)
    assert error.problem


async def test_wrong_password_and_none_of_it_is_shown() -> None:
    async with NatsServer(config=ServerConfig(password="right")) as server:
        url = f"nats://fleet:wrong@127.0.0.1:{server.port}"
        error = await refused(url)
        assert "refused these credentials (settings creds, nkey, user, token)" in str(error)
        assert "wrong" not in str(error)
        assert error.url == f"nats://***@127.0.0.1:{server.port}"
        async with connect(f"nats://127.0.0.1:{server.port}", "f", user="fleet", password="right"):
            pass


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("nats://h:1", "nats://h:1"),
        ("nats://u:p@h:1", "nats://***@h:1"),
        ("nats://u:p@h:1,tls://token@i:2", "nats://***@h:1,tls://***@i:2"),
        ("nats://u:p@ss/w,o//rd@h:1", "nats://***@h:1"),
        ("u:p@h:1", "***@h:1"),
        ("nats://h:1,nats://u:p@i:2", "nats://h:1,nats://***@i:2"),
    ],
)
def test_urls_are_shown_without_credentials(url: str, safe: str) -> None:
    assert shown(url) == safe


@pytest.mark.parametrize("url", ["nats://h:port", "nats://", "", "://x", "nats://h:99999999"])
async def test_a_url_that_is_none(url: str) -> None:
    error = await refused(url, connect_timeout=1.0)
    assert str(error) == f"cannot connect to NATS at {url}: {error.problem}"
    assert error.problem


async def test_the_second_of_two_servers(nats_url: str) -> None:
    dead = f"nats://127.0.0.1:{free_port()}"
    async with connect(f"{dead},{nats_url}", "f") as bus:
        assert bus.connected


async def test_one_that_is_silent_leaves_time_for_the_other(nats_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        async with connect(f"{slow},{nats_url}", "f", connect_timeout=0.3) as bus:
            assert bus.connected


async def test_keys_that_are_none(tmp_path: Path, nats_url: str) -> None:
    file = tmp_path / "seed"
    file.write_text("not a seed")
    error = await refused(nats_url, nkey=str(file))
    assert f"the keys in {file} cannot be used" in str(error)


async def test_a_tls_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    with pytest.raises(SettingsError, match=f"TLS files {file}: cannot be used"):
        async with connect("nats://127.0.0.1:1", "f", tls_ca=str(file)):
            pass


async def test_a_break_is_logged_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        NatsServer(config=ServerConfig(password="secret")) as server,
        connect(server.url, "f", reconnect_max=0.05) as bus,
    ):
        await server.kill()
        await eventually(lambda: not bus.connected)
        await server.restart()
        await eventually(lambda: "reconnected to nats://***@" in caplog.text)
    assert "disconnected from nats://***@" in caplog.text
    assert "secret" not in caplog.text


async def test_a_failed_connection_leaves_nothing_behind() -> None:
    await refused(f"nats://127.0.0.1:{free_port()}")
    names = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert "bus-sweeper" not in names


# settings


async def test_settings_precedence(
    nats_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "fleetbus.toml"
    file.write_text('url = "nats://127.0.0.1:1"\nfleet = "file"\nname = "file"', encoding="utf-8")
    monkeypatch.setenv("FLEETBUS_CONFIG", str(file))
    monkeypatch.setenv("FLEETBUS_FLEET", "environment")
    async with connect(nats_url) as bus:
        assert bus.subjects.fleet == "environment"
        assert bus.settings.name == "file"
    assert connect(nats_url, "argument").subjects.fleet == "argument"


def test_bad_settings_are_refused_before_any_io() -> None:
    with pytest.raises(InvalidName, match="fleet name 'a b' is not allowed"):
        connect(fleet="a b")
    with pytest.raises(SettingsError, match="argument pings: there is no setting 'pings'"):
        connect(pings=3)


# asking


async def test_a_request_is_answered(bus: Bus) -> None:
    await bus.listen("ask", lambda message: bus.send(message.reply, message.data.upper()))
    assert (await bus.request("ask", b"x")).data == b"X"


async def test_nobody_there_is_an_answer(bus: Bus) -> None:
    assert (await bus.request("nobody.is.here")).status == "503"


async def test_no_answer_in_time(bus: Bus) -> None:
    await bus.listen("silent", lambda message: None)
    with pytest.raises(TimeoutError, match=r"no answer on silent within 0\.05 s"):
        await bus.request("silent", timeout=0.05)
    assert not bus._expected, "an answer is waited for that nobody wants any more"


async def test_many_requests_at_a_time_get_their_own_answers(bus: Bus) -> None:
    await bus.listen("echo", lambda message: bus.send(message.reply, message.data))
    answers = await asyncio.gather(*[bus.request("echo", b"%d" % n) for n in range(500)])
    assert [answer.data for answer in answers] == [b"%d" % n for n in range(500)]


async def test_a_request_that_the_connection_breaks_under(server: NatsServer) -> None:
    async with connect(server.url, "f", reconnect_max=0.05) as bus:
        await bus.listen("silent", lambda message: None)
        asking = asyncio.create_task(bus.request("silent", timeout=30))
        await bus.flush()
        await server.kill()
        await server.restart()
        # The answer may have gone down with the connection: better told than waited for.
        with pytest.raises(Disconnected, match="the connection broke while waiting for silent"):
            await asking


async def test_a_request_made_while_disconnected_is_answered_afterwards(
    server: NatsServer,
) -> None:
    async with connect(server.url, "f", reconnect_max=0.05) as bus:
        await server.kill()
        await eventually(lambda: not bus.connected)
        asking = asyncio.create_task(bus.request("$JS.API.INFO", timeout=20))
        await server.restart()
        assert b"api" in (await asking).data


class Told(Expected):
    """Writes down what it is told."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def on_reply(self, message: Inbound) -> None:
        self._words.append(message.data.decode())

    def on_lost(self) -> None:
        self._words.append("lost")


async def test_closing_ends_who_still_waits(nats_url: str) -> None:
    lost: list[str] = []
    async with connect(nats_url, "f") as bus:
        bus.expect(Told(lost), 30)
    assert lost == ["lost"]


async def test_expect_gets_its_answer_once(bus: Bus) -> None:
    got: list[str] = []
    reply = bus.expect(Told(got), 0.3)
    bus.send(reply, b"first")
    bus.send(reply, b"second")
    await bus.flush()
    await eventually(lambda: got == ["first"])
    assert reply not in bus._expected


async def test_expect_tells_when_nothing_comes(bus: Bus) -> None:
    lost: list[str] = []
    bus.expect(Told(lost), 0.01)
    await eventually(lambda: lost == ["lost"])


async def test_forgotten_is_not_told(bus: Bus) -> None:
    told: list[str] = []
    reply = bus.expect(Told(told), 0.01)
    bus.forget(reply)
    late: list[str] = []
    bus.expect(Told(late), 0.01)
    bus.send(reply, b"x")
    await eventually(lambda: late == ["lost"])
    assert told == []


# the JetStream API


async def test_an_api_error_has_the_servers_code(bus: Bus) -> None:
    with pytest.raises(ApiError, match=r"JetStream STREAM\.INFO\.NONE: stream not found") as raised:
        await bus.api("STREAM.INFO.NONE")
    assert (raised.value.code, raised.value.status) == (ApiError.NO_STREAM, 404)
    assert isinstance(raised.value, BusError)


async def test_an_account_without_jetstream(server: NatsServer) -> None:
    async with connect(server.system_url, "f") as bus:
        with pytest.raises(BusError, match="JetStream"):
            await topology.ensure(bus)


async def test_api_level(bus: Bus) -> None:
    level = await bus.api_level()
    assert level >= 1
    await bus.require("anything", level)
    with pytest.raises(FeatureMissing) as raised:
        await bus.require("time travel", level + 1)
    assert str(raised.value) == (
        f"time travel needs JetStream API level {level + 1}, this server has {level}: "
        "upgrade nats-server"
    )


# breaking and coming back


async def test_it_comes_back_with_its_subscriptions(server: NatsServer) -> None:
    async with connect(server.url, "f", reconnect_max=0.05) as bus:
        got: list[bytes] = []
        news: list[int] = []
        await bus.listen("t", lambda message: got.append(message.data))
        bus.reconnected.append(lambda: news.append(bus.generation))

        def reached(generation: int) -> bool:
            return bus.generation == generation

        def heard(data: bytes) -> bool:
            return got[-1:] == [data]

        for data in (b"1", b"2"):
            await server.kill()
            await eventually(lambda: not bus.connected)
            await server.restart()
            await eventually(partial(reached, int(data)))
            bus.send("t", data)
            await eventually(partial(heard, data))
        assert got == [b"1", b"2"]
        assert news == [1, 2]
        assert (await bus.request("nobody.is.here")).status == "503"


async def test_it_never_gives_up(server: NatsServer) -> None:
    async with connect(server.url, "f", reconnect_min=0.001, reconnect_max=0.002) as bus:
        await server.kill()
        # nats-py's own default ends after 60 tries.
        pool = bus.nc._server_pool
        await eventually(lambda: pool[0].reconnects > 70)
        await server.restart()
        await eventually(lambda: bus.connected)


async def test_the_server_tells_who_disconnected(server: NatsServer) -> None:
    async with connect(server.url, "f") as watcher:
        heard: list[Inbound] = []
        await watcher.listen(DISCONNECTS, heard.append)
        await watcher.flush()
        async with connect(server.url, "f", name="agent:a1:9f2c"):
            pass
        await eventually(lambda: [b'"agent:a1:9f2c"' in one.data for one in heard] == [True])


# what is dropped


async def test_drops_are_counted_and_logged_once_a_minute_a_sender(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Happening] = []

    class Hook:
        def on_event(self, event: Happening) -> None:
            told.append(event)

    bus.hook = Hook()
    caplog.set_level(logging.WARNING, "fleetbus.bus")
    for number in range(5):
        bus.drop(f"fleet.f.hb.berlin.a1.{number}", DecodeError("heartbeat", "is garbage"))
    bus.drop("fleet.f.hb.berlin.a2", RuntimeError("a bug"))
    assert bus.dropped == 6
    assert told[0] == Dropped("fleet.f.hb.berlin.a1.0", "heartbeat: is garbage")
    assert len(told) == 6
    assert len(caplog.records) == 2
    assert "heartbeat: is garbage" in caplog.text
    # What garbage explains needs no traceback, and a bug of ours does.
    assert [record.exc_info is not None for record in caplog.records] == [False, True]
