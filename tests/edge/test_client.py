"""The edge agent's connection: against a real server, and against one that misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus.testing import eventually
from edge import link as module
from edge import port
from edge.client import WRONG_LAST_SEQUENCE, Client
from edge.errors import BusError
from edge.settings import load
from edge.wire import Message, block
from tests.support.proxy import Proxy
from tests.support.scripted import INFO, Peer, Script, scripted, well


def made(url: str, **settings: Any) -> Client:
    return Client(load({"url": url, "reconnect_max": 0.05, **settings}), "test")


@asynccontextmanager
async def opened(url: str, wait: bool = True, **settings: Any) -> AsyncIterator[Client]:
    """A client that runs until the end."""
    client = made(url, **settings)
    task = asyncio.create_task(client.run())
    try:
        if wait:
            await eventually(lambda: client.connected)
        yield client
        assert not task.done(), "the connection gave up"
    finally:
        await client.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def dead_url() -> str:
    """Where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"nats://127.0.0.1:{one.getsockname()[1]}"


# a real server


async def test_requests_replies_headers_and_bodies(nats_url: str) -> None:
    async with opened(nats_url) as client, opened(nats_url) as other:
        subject = f"edge.{time.monotonic_ns()}"

        def echo(message: Message) -> None:
            other.pub(message.reply, message.body or b"", [("X", message.headers.get("X", "-"))])

        sid = other.sub(subject, echo)
        await other.flush()
        answers = await asyncio.gather(
            *(client.request(subject, b"%d" % i, [("X", f"ü{i}")]) for i in range(50))
        )
        assert [one.body for one in answers] == [b"%d" % i for i in range(50)]
        assert [one.headers for one in answers] == [{"X": f"ü{i}"} for i in range(50)]
        assert (await client.request(subject)).headers == {"X": "-"}
        big = b"x" * 65_536
        assert (await client.request(subject, big)).body == big
        other.unsub(sid)
        await other.flush()
        assert (await client.request(subject)).headers["Status"] == "503"
        assert (client.dropped, client._replies) == (0, {})


async def test_what_streams_say(nats_url: str, fleet: str) -> None:
    async with opened(nats_url) as client:
        key = f"$KV.CONFIG_{fleet}.layer.global"
        first = await client.store(key, b"1")
        assert (await client.store(key, b"2"))["seq"] == first["seq"] + 1
        wrong = [("Nats-Expected-Last-Subject-Sequence", "99")]
        with pytest.raises(BusError, match="wrong last sequence") as problem:
            await client.store(key, b"3", wrong)
        assert problem.value.code == WRONG_LAST_SEQUENCE
        with pytest.raises(BusError, match="no stream takes it"):
            await client.store(f"edge.nobody.{fleet}", b"")
        stream = f"KV_CONFIG_{fleet}"
        last = await client.last(stream, key)
        assert last is not None
        assert last.body == b"2"
        assert await client.last(stream, key + "x") is None
        with pytest.raises(BusError, match="503"):
            await client.last("NOBODY", key)
        question = {"multi_last": [f"$KV.CONFIG_{fleet}.>"], "batch": 10}
        assert [one.body for one in await client.stored(stream, question, 10)][-1] == b"2"
        assert await client.stored(stream, {"multi_last": ["x"], "batch": 10}, 10) == []
        with pytest.raises(BusError, match="503"):
            await client.stored("NOBODY", question, 10)
        both = {"seq": 1, "next_by_subj": f"$KV.CONFIG_{fleet}.>", "batch": 10}
        await client.store(key + "x", b"3")
        with pytest.raises(BusError, match="too many"):
            await client.stored(stream, both, 1)


async def test_sizes(nats_url: str) -> None:
    async with opened(nats_url, buffer=4096, largest=1000) as client:
        found: list[Message] = []
        client.sub("edge.sizes", found.append)
        await client.flush()
        with pytest.raises(BusError, match="1048577 bytes, and the server takes 1048576"):
            client.pub("edge.sizes", b"x" * (client.max_payload + 1))
        # More than the buffer goes too, alone.
        assert client.pub("edge.sizes", b"x" * 500_000, [("A", "b")])
        assert not client.pub("edge.sizes", b"y")
        await client.flush()
        assert client.pub("edge.sizes", b"x" * 1001)
        assert client.pub("edge.sizes", b"x" * 1000)
        await eventually(lambda: found and found[-1].body)
        assert [(one.headers, one.body, one.size) for one in found] == [
            ({"A": "b"}, None, 500_000),
            ({}, b"x" * 1000, 1000),
        ]
        assert client.dropped == 1  # what had no headers either


async def test_a_handler_that_fails_is_counted(
    nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(nats_url) as client:
        client.sub("edge.fails", lambda message: json.loads(message.body or b""))
        client.pub("edge.fails", b"{")
        await client.flush()
        assert client.dropped == 1
        assert client.connected
        assert "edge.fails: dropped: " in caplog.text


async def test_a_broken_link_comes_back_with_all_that_was_subscribed(nats_url: str) -> None:
    async with Proxy(nats_url) as proxy, opened(nats_url) as other, opened(proxy.url) as client:
        found: list[Message] = []
        told: list[int] = []
        client.on_connect.append(lambda: told.append(client.generation))
        client.sub("edge.again", found.append)
        gone = client.sub("edge.gone", found.append)
        other.sub("edge.silent", lambda message: None)
        await other.flush()
        await client.flush()
        client.unsub(gone)
        waiting = asyncio.gather(
            client.request("edge.silent"),
            client.request("edge.silent"),
            client.stored("NOBODY", {}, 1),
            client.flush(),
            return_exceptions=True,
        )
        proxy.hold()
        await asyncio.sleep(0)
        begun = time.monotonic()
        proxy.cut()
        problems = await waiting
        assert time.monotonic() - begun < 1
        assert [type(one) for one in problems] == [BusError] * 4
        with pytest.raises(BusError, match="not connected"):
            await client.request("edge.silent")
        with pytest.raises(BusError, match="not connected"):
            await client.flush()
        assert not client.pub("edge.again")
        assert client._replies == {}
        proxy.release()
        await eventually(lambda: client.generation == 2)
        client.sub("edge.new", found.append)
        await client.flush()
        for subject in ("edge.again", "edge.gone", "edge.new"):
            other.pub(subject, b"x")
        await eventually(lambda: len(found) == 2)
        assert [one.subject for one in found] == ["edge.again", "edge.new"]
        assert told == [2]


async def test_a_server_that_falls_silent_is_left(
    nats_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.1)
    async with Proxy(nats_url) as proxy, opened(proxy.url, ping=0.05) as client:
        await asyncio.sleep(0.3)
        assert client.generation == 1  # pings keep a link that nothing uses
        proxy.hold()
        await eventually(lambda: not client.connected)
        assert "the server is silent" in caplog.text
        await eventually(lambda: "no connection in 0.1 s" in caplog.text)
        proxy.release()
        await eventually(lambda: client.connected)


async def test_what_cannot_be_sent_is_refused_and_not_kept(nats_url: str) -> None:
    async with Proxy(nats_url) as proxy, opened(proxy.url, buffer=100_000) as client:
        proxy.hold()
        sent = 0
        body = b"x" * 30_000

        async def full() -> bool:
            nonlocal sent
            while client.pub("edge.flood", body):
                sent += 1
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
            return not client.pub("edge.flood", body)

        await eventually(full)
        assert client._size <= 100_000 + 4096
        assert sum(map(len, client._out)) <= client._size
        with pytest.raises(BusError, match="too much waits"):
            await client.request("edge.flood", body)
        proxy.release()
        await asyncio.wait_for(client.drained(), 5)
        assert client._size <= 50_000
        await client.flush()
        assert client.generation == 1


async def test_close_sends_what_is_left(nats_url: str) -> None:
    async with opened(nats_url) as other:
        found: list[Message] = []
        other.sub("edge.last", found.append)
        await other.flush()
        client = made(nats_url)
        task = asyncio.create_task(client.run())
        await eventually(lambda: client.connected)
        for _ in range(200):
            assert client.pub("edge.last", b"x" * 100)
        await client.close()
        assert not client.connected
        await asyncio.wait_for(task, 2)
        await eventually(lambda: len(found) == 200)


async def test_the_next_server_is_tried(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.1)

    async def mute(peer: Peer) -> None:
        await peer.reader.read()

    async with scripted(mute) as silent:
        urls = f"{dead_url()}, {silent.url},{nats_url}"
        async with opened(urls) as client:
            assert silent.accepted == 1
            await client.flush()


# one that misbehaves


async def bye(peer: Peer) -> None:
    """Nothing at all."""


def says(data: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.say(data)
        await peer.reader.read()

    return script


def after_login(data: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.let_in()
        await peer.say(data)
        await peer.serve()

    return script


GOOD = b"INFO " + json.dumps(INFO).encode() + b"\r\n"

ODD: list[tuple[str, Script, str]] = [
    ("hangs up", bye, "the server closed the connection"),
    ("is no server", says(b"SSH-2.0-OpenSSH\r\n"), "unknown: SSH"),
    ("is a web server", says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "unknown: HTTP"),
    ("no object", says(b"INFO []\r\n"), "INFO is not one"),
    ("no JSON", says(b"INFO x\r\n"), "INFO is not one"),
    ("no limit", says(b"INFO {}\r\n"), "INFO is not one"),
    ("odd limit", says(b'INFO {"max_payload":"x"}\r\n'), "INFO is not one"),
    ("deep", says(b"INFO " + b"[" * 20_000 + b"\r\n"), "INFO is not one"),
    ("refuses", says(GOOD + b"-ERR 'Authorization Violation'\r\n"), "Authorization Violation"),
    ("refuses first", says(b"-ERR 'maximum connections exceeded'\r\n"), "maximum connections"),
    ("endless line", says(b"INFO " + b"x" * 100_000), "control line"),
    ("endless chatter", says(b"PING\r\n" * 10_000), "everything but INFO"),
    ("chatter after INFO", says(GOOD + b"PING\r\n" * 10_000), "everything but PONG"),
    ("TLS first", says(b"\x16\x03\x01\x02\x00\x01\r\n"), "unknown"),
    ("garbage later", after_login(b"MSG x y z\r\n"), "bad message line"),
    ("endless line later", after_login(b"x" * 9000), "control line"),
    ("sizes that lie", after_login(b"MSG a 1 2\r\nhello\r\n"), "longer than it says"),
]


@pytest.mark.parametrize(("script", "said"), [one[1:] for one in ODD], ids=[one[0] for one in ODD])
async def test_an_odd_server_is_told_of_and_tried_again(
    script: Script, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted(script, script, well) as server, opened(server.url, wait=False) as client:
        await eventually(lambda: server.accepted == 3 and client.connected)
        await client.flush()
        lines = [one.message for one in caplog.records if said in one.message]
        assert lines, caplog.text


async def test_what_goes_wrong_again_and_again_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caps: list[float] = []

    def uniform(low: float, high: float) -> float:
        caps.append(high)
        return 0.0

    monkeypatch.setattr(port, "uniform", uniform)
    urls = f"{dead_url()},{dead_url().replace('//', '//me:hunter2@')}"
    async with opened(urls, wait=False, reconnect_max=2.0):
        await eventually(lambda: len(caps) >= 12)
    assert len(caplog.records) == 2
    assert "hunter2" not in caplog.text
    # Full jitter below a bound that grows.
    assert caps[:7] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


async def test_that_it_is_connected_again_is_logged(
    nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(nats_url) as proxy, opened(proxy.url) as client:
        assert not caplog.records  # the first connection is no news
        proxy.cut()
        await eventually(lambda: client.generation == 2)
        assert [one.levelname for one in caplog.records] == ["WARNING"] * 2
        assert caplog.records[1].message == f"{proxy.url}: connected again"


async def test_info_in_pieces() -> None:
    async def slowly(peer: Peer) -> None:
        for at in range(len(GOOD)):
            await peer.say(GOOD[at : at + 1])
        await peer.reader.readline()
        await peer.reader.readline()
        await peer.say(b"PO")
        await peer.say(b"NG\r")
        await peer.say(b"\nPING\r\n")
        await peer.serve()

    async with scripted(slowly) as server, opened(server.url) as client:
        await client.flush()


async def test_what_comes_with_the_login_is_not_lost() -> None:
    async def eager(peer: Peer) -> None:
        await peer.greet()
        await peer.reader.readline()
        await peer.reader.readline()
        await peer.say(b"PING\r\nPONG\r\nMSG early 2 5\r\nhello\r\n")
        await peer.serve()

    async with scripted(eager) as server, opened(server.url, wait=False) as client:
        found: list[Message] = []
        assert client.sub("early", found.append) == 2
        await eventually(lambda: found)
        assert found[0].body == b"hello"


async def test_the_wish() -> None:
    wishes: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        wishes.append(await peer.let_in(nonce="abc"))
        await peer.serve()

    async with scripted(script) as server:
        where = server.url.partition("//")[2]
        cases: list[tuple[str, dict[str, Any], dict[str, str]]] = [
            (server.url, {}, {}),
            (f"nats://u:p@{where}", {}, {"user": "u", "pass": "p"}),
            (f"nats://t0ken@{where}", {}, {"auth_token": "t0ken"}),
            (where, {"user": "u", "password": "p"}, {"user": "u", "pass": "p"}),
            (where, {"token": "t"}, {"auth_token": "t"}),
            (f"nats://u:p@{where}", {"password": "q"}, {"user": "u", "pass": "q"}),
            (f"nats://u:p:q@r@{where}", {}, {"user": "u", "pass": "p:q@r"}),
        ]
        for url, settings, proof in cases:
            async with opened(url, **settings):
                wish = wishes.pop()
                found = {
                    name: wish[name] for name in ("user", "pass", "auth_token") if name in wish
                }
                assert found == proof, url
                assert (wish["name"], wish["no_responders"], wish["headers"]) == (
                    "test",
                    True,
                    True,
                )


async def test_servers_that_ask_and_do_not_read_cost_a_bounded_amount(nats_url: str) -> None:
    async with opened(nats_url, buffer=1000) as client:
        client._take([("PING", "")] * 10_000)  # in one turn: nothing can be sent meanwhile
        assert client._size <= 1010
        await client.flush()


async def test_a_flood_of_messages_is_taken_as_it_comes() -> None:
    head = block([("A", "b")])
    one = b"MSG flood 2 5\r\nhello\r\n" + b"HMSG flood 2 %d %d\r\n" % (
        len(head),
        len(head) + 200_000,
    )
    one += head + b"x" * 200_000 + b"\r\n" + b"MSG flood 2 200000\r\n" + b"x" * 200_000 + b"\r\n"

    async def flood(peer: Peer) -> None:
        await peer.let_in()
        for _ in range(50):
            await peer.say(one)
        await peer.serve()

    async with scripted(flood) as server, opened(server.url, wait=False, largest=1000) as client:
        sizes: list[tuple[int, bool]] = []
        client.sub("flood", lambda message: sizes.append((message.size, message.body is None)))
        await eventually(lambda: client.dropped == 50)
        assert sizes == [(5, False), (200_000, True)] * 50
        await client.flush()


async def test_what_the_server_complains_of_later(caplog: pytest.LogCaptureFixture) -> None:
    complaint = b"-ERR 'Permissions Violation for Publish to \"x\"'\r\nINFO {}\r\n+OK\r\n"
    async with scripted(after_login(complaint)) as server, opened(server.url) as client:
        await eventually(lambda: client.refused)
        assert client.refused == 'Permissions Violation for Publish to "x"'
        await client.flush()
        assert "the server says: Permissions" in caplog.text
        assert client.generation == 1


async def test_servers_of_a_cluster_are_remembered_a_few_and_safely() -> None:
    names: list[Any] = [f"10.0.0.{n}:4222" for n in range(100)]
    names = ["10.0.0.1:4222", "10.0.0.1:4222", 5, None, "0.0.1:4222", *names]

    async def script(peer: Peer) -> None:
        await peer.let_in(connect_urls=names)
        await peer.serve()

    async with scripted(script) as server:
        url = server.url.replace("//", "//u:p@")
        async with opened(url) as client:
            known = client._servers
            assert known[:3] == [url, "nats://u:p@10.0.0.1:4222", "nats://u:p@0.0.1:4222"]
            assert len(known) == module.MOST_SERVERS
    async with scripted(well) as server, opened(server.url) as client:
        for odd in ("x", {"a": 1}, 5, None):
            client._meet("tls://h:1", odd)
        client._meet("tls://h:1", ["b:2"])
        assert client._servers[1:] == ["tls://b:2"]  # never without TLS where there was some


async def test_closed_while_it_connects() -> None:
    reached = asyncio.Event()
    go = asyncio.Event()

    async def late(peer: Peer) -> None:
        reached.set()
        await go.wait()
        await peer.let_in()
        await peer.serve()

    async with scripted(late) as server:
        client = made(server.url)
        task = asyncio.create_task(client.run())
        await reached.wait()
        await client.close()
        go.set()
        await asyncio.wait_for(task, 2)
        assert not client.connected


async def test_closing_does_not_wait_for_a_server_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FAREWELL", 0.1)

    async def mute(peer: Peer) -> None:
        await peer.let_in()
        await peer.reader.read()

    async with scripted(mute) as server:
        begun = time.monotonic()
        async with opened(server.url):
            pass
        assert time.monotonic() - begun < 2


# TLS, as far as nobody has to have a certificate


async def test_a_password_never_goes_without_the_tls_that_is_wished(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[bytes] = []

    async def plain(peer: Peer) -> None:
        await peer.greet()
        heard.append(await peer.reader.read(100))

    async with scripted(plain) as server:
        url = server.url.replace("nats://", "tls://u:p@")
        async with opened(url, wait=False):
            await eventually(lambda: len(heard) > 1)
        assert "the server has no TLS" in caplog.text
        heard.clear()
        # From the first byte: a hello, and no CONNECT.
        async with opened(server.url, wait=False, user="u", password="p", tls_first=True):
            await eventually(lambda: heard)
        assert all(not one or one[:1] == b"\x16" for one in heard)


@pytest.mark.parametrize("more", [b"MSG x 2 5\r\nhello\r\n", b"MSG x 2 5\r\n", b"PONG\r\n", b"P"])
async def test_what_is_said_before_tls_is_nobodys_word(
    more: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    info = b"INFO " + json.dumps({**INFO, "tls_required": True}).encode() + b"\r\n"

    async with scripted(says(info + more)) as server, opened(server.url, wait=False) as client:
        found: list[Message] = []
        client.sub("x", found.append)
        with caplog.at_level(logging.WARNING):
            await eventually(lambda: "more than INFO before TLS" in caplog.text)
        assert found == []
