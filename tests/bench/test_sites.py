"""What ``edge-site`` is made of: the link that is cut, and how the tasks are judged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.edge.outcome import Stored
from bench.harness.errors import ChildFailed
from bench.sites.judge import judge
from bench.sites.proxy import LinkProxy
from bench.sites.server import configured_server, free_ports
from bus.testing import eventually

CLOSED = (ConnectionResetError, asyncio.IncompleteReadError)
"""A connection that is aborted is reset or ends, as the kernel likes."""


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[LinkProxy, list[asyncio.StreamWriter]]]:
    """A link to a hub that says all that it hears, and the hub's open connections."""
    there: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.append(writer)
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        except OSError:
            pass  # reset
        finally:
            there.remove(writer)
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        async with LinkProxy(server.sockets[0].getsockname()[1]) as link:
            yield link, there
        await eventually(lambda: not there)
        await asyncio.sleep(0)  # the last transport closes in the next turn of the loop
    finally:
        server.close()


async def said(link: LinkProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection through the link, on which both have spoken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def test_a_link_that_is_cut_tells_both_ends_and_refuses_others() -> None:
    async with echoing() as (link, there):
        reader, writer = await said(link)
        assert link.bytes == 10
        link.sever("cut")
        with pytest.raises(CLOSED):
            await reader.readexactly(1)
        writer.close()
        await eventually(lambda: not there)
        with pytest.raises(CLOSED):
            await said(link)
        link.mend()
        assert len(link.opened) == 1
        (await said(link))[1].close()
        assert len(link.opened) == 2


async def test_a_silent_link_tells_nobody_and_loses_nothing() -> None:
    async with echoing() as (link, there):
        reader, writer = await said(link)
        gone = (await said(link))[1]
        link.sever("silent")
        writer.write(b"held")
        gone.close()
        late = asyncio.create_task(said(link))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(10), 0.1)
        # The hub has heard neither of the one that has gone nor of the one that came.
        assert len(there) == 2
        assert not late.done()
        link.mend()
        assert await reader.readexactly(4) == b"held"
        (await late)[1].close()
        await eventually(lambda: len(there) == 1)
        writer.close()


async def test_who_gave_up_on_a_silent_link_does_not_reach_the_hub_later() -> None:
    async with echoing() as (link, _):
        link.sever("silent")
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", link.port)
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.05)
        link.mend()
        (await said(link))[1].close()
        assert len(link.opened) == 1


async def test_a_link_without_a_hub_closes() -> None:
    [port] = free_ports(1)
    async with LinkProxy(port) as link:
        with pytest.raises(CLOSED):
            await said(link)
        assert not link.opened


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    config = tmp_path / "bad.conf"
    config.write_text("listen: nowhere at all\nnonsense {")
    with pytest.raises(ChildFailed, match=r"bad\.conf.* ended: .*nats-server: "):
        async with configured_server(config):
            pass


def results(*told: tuple[str, float]) -> list[Stored]:
    return [Stored(task, "completed", at) for task, at in told]


def test_all_is_well() -> None:
    found = judge(
        {"a", "b", "c"},
        {"a", "b", "c"},
        results(("a", 11), ("b", 21.5), ("c", 22)),
        results(("a", 10), ("b", 15), ("c", 19)),
        (12, 20),
    )
    assert not found.missing_at_hub
    assert not found.missing_at_submitter
    assert not found.failed
    assert (found.doubled, found.doubled_at_site, found.disordered) == (0, 0, 0)
    assert (found.queued, found.first, found.last) == (2, 21.5, 22)


def test_what_is_wrong_is_found() -> None:
    hub = results(("b", 21), ("a", 22), ("d", 23), ("a", 24), ("strange", 25))
    hub.append(Stored("f", "failed", 26))
    found = judge(
        {"a", "b", "c", "d", "f"},
        {"a", "d"},
        hub,
        results(("a", 10), ("b", 11), ("c", 13), ("d", 14), ("d", 15)),
        (12, 20),
    )
    assert found.missing_at_hub == ["c"]
    assert found.missing_at_submitter == ["b", "c", "f"]
    assert found.failed == ["f"]
    assert (found.doubled, found.doubled_at_site) == (1, 1)
    assert found.disordered == 1
    # What is missing has not arrived, so it does not count as the last.
    assert (found.queued, found.first, found.last) == (1, 23, 23)


def test_nothing_waited() -> None:
    found = judge({"a"}, {"a"}, results(("a", 9)), results(("a", 8)), (12, 20))
    assert (found.queued, found.first, found.last) == (0, 0.0, 0.0)
