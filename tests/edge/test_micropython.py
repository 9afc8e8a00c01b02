"""Agents on MicroPython, in Node.js: what a bundle holds is what runs here."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bus import Client
from bus.testing import eventually
from coordinator import Coordinator
from fleetbus.conformance.catalogue import CHECKS
from fleetbus.edge.bundle import Bundle, Compile, Order, make
from tests.support.cli import ROOT, fleetbus
from tests.support.micropython.running import HOST, board, node

pytestmark = pytest.mark.node

AGENT = ROOT / "tests" / "conformance" / "agents" / "edge_agent.py"
WORKER = """import asyncio
from edge import Agent

agent = Agent(slots=2, queue=2)

@agent.capability("echo", params={"value": object})
async def echo(task, value):
    return value

@agent.capability("busy", params={"seconds": float})
async def busy(task, seconds):
    task.progress("begun")
    await asyncio.sleep(seconds)
    return seconds
"""
CANNOT: set[str] = set()
"""Checks that the platform cannot pass. There are none: host.mjs makes SIGTERM a call of what
``edge.port_micro.stops`` holds, as a board would with a button."""

HEAP_IDLE, HEAP_BUSY = 112 * 1024, 128 * 1024
"""Bytes, with all code in the heap. They keep it from growing unseen; docs/edge.md has figures."""


def bundle(folder: Path, compile: Compile, agent: Path = AGENT, **order: object) -> Bundle:
    return make(Order(str(agent), folder, compile=compile, **order))  # type: ignore[arg-type]  # any


@pytest.mark.parametrize("compile", ["always", "never"])
async def test_every_module_is_imported(tmp_path: Path, compile: Compile) -> None:
    made = bundle(tmp_path / "device", compile, everything=True)
    modules = [one.file.partition(".")[0] for one in made.files if one.file.startswith("edge/")]
    names = [one.replace("/", ".").removesuffix(".__init__") for one in modules]
    assert {"edge", "edge.spool", "edge.nkeys", "edge.sampling", "edge.config"} <= set(names)
    lines = [f"import {name}; print({name!r})" for name in names]
    (made.path / "main.py").write_text("\n".join(lines))
    async with board(made.path) as device:
        await asyncio.wait_for(device.process.wait(), 15)
        await eventually(lambda: len(device.lines) >= len(names))
    assert device.lines == names
    assert device.process.returncode == 0


@pytest.mark.parametrize("compile", ["always", "never"])
async def test_tasks_are_done_in_little_heap(
    nats_url: str,
    fleet: str,
    coordinator: Coordinator,
    client: Client,
    tmp_path: Path,
    compile: Compile,
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    settings = {"url": nats_url, "fleet": fleet}
    identity = {"FLEETBUS_AGENT": "cellar-1", "FLEETBUS_SITE": "berlin"}
    made = bundle(tmp_path / "device", compile, worker, settings=settings, identity=identity)
    begun = time.monotonic()
    async with board(made.path) as device:
        await device.says("agent cellar-1 ready")
        ready = time.monotonic() - begun
        handle = await client.submit("echo", {"value": {"a": [1, None, "ü"]}})
        assert await handle.result(timeout=10) == {"a": [1, None, "ü"]}
        [card] = await client.agents()
        assert (card.agent, card.site) == ("cellar-1", "berlin")
        idle = await device.heap()
        running = await client.submit("busy", {"seconds": 1.0})
        async for _ in running.progress():
            break
        busy = await device.heap()
        assert await running.result(timeout=10) == 1.0
        many = [await client.submit("echo", {"value": "x" * 1000}) for _ in range(100)]
        for one in many:
            assert len(await one.result(timeout=20)) == 1000

        # What tasks have left is garbage in both worlds: Node's goes when Node likes.
        async def forgotten() -> bool:
            return await device.heap() < idle + 8192

        await eventually(forgotten, 15.0, every=0.5)
        assert await device.end(signal.SIGTERM) == 0
    print(f"{compile}: ready {ready:.3f} s, heap idle {idle}, busy {busy}")
    assert idle < HEAP_IDLE
    assert busy < HEAP_BUSY
    assert device.lines[-1].endswith("agent cellar-1 stopped")


async def test_shortened_source_conforms(tmp_path: Path) -> None:
    command = shlex.join([node(), str(HOST), str(bundle(tmp_path / "device", "never").path)])
    # Twice the time: MicroPython in WebAssembly is slow on a busy machine.
    done = await fleetbus(
        *("conformance", "--agent-command", command, "--timeout", "10", "--json"), timeout=120
    )
    report = done.json()
    outcomes = {one["check"]: one for one in report["checks"]}
    assert list(outcomes) == [one.id for one in CHECKS]
    failed = [one for one in report["checks"] if one["outcome"] != "pass"]
    assert [one for one in failed if one["check"] not in CANNOT] == []
    assert {one["check"] for one in failed} == CANNOT


async def test_tls_from_the_first_byte(
    nats_url: str, fleet: str, client: Client, tmp_path: Path
) -> None:
    pem, key = _certificate(tmp_path)
    der = tmp_path / "ca.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(pem.read_text()))
    async with _tls_in_front(nats_url, pem, key) as port:
        settings: dict[str, object] = {"url": f"tls://127.0.0.1:{port}", "fleet": fleet}
        settings |= {"tls_ca": str(der), "tls_first": True}
        identity = {"FLEETBUS_AGENT": "cellar-1"}
        made = bundle(tmp_path / "device", "auto", settings=settings, identity=identity)
        async with board(made.path) as device:
            await device.says("agent cellar-1 ready")
            assert [one.agent for one in await client.agents()] == ["cellar-1"]


async def test_a_program_that_fails_says_why_in_few_words(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import edge_is_missing\n")
    async with board(tmp_path) as device:
        await asyncio.wait_for(device.process.wait(), 15)
        await device.says("no module named 'edge_is_missing'")
    assert device.process.returncode == 1
    assert len(device.text) < 1000


def _certificate(folder: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    pem, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(pem)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return pem, key


@asynccontextmanager
async def _tls_in_front(url: str, pem: Path, key: Path) -> AsyncIterator[int]:
    """A port that takes TLS and passes on what comes, as a server with handshake_first."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    behind = urlsplit(url)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection(behind.hostname, behind.port)
        pumps = (pump(reader, inner[1]), pump(inner[0], writer))
        await asyncio.gather(*pumps, return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
