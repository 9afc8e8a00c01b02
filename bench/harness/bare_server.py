"""A nats-server as most people run it: JetStream, and no accounts of ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.leash import leashed
from bus.server_probe import find_binary


@asynccontextmanager
async def bare_server() -> AsyncIterator[str]:
    """Its URL. It exports no disconnect events."""
    with tempfile.TemporaryDirectory() as directory, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        process = await asyncio.create_subprocess_exec(
            *leashed(
                [str(find_binary()), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", directory]
            ),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it: its clients are to go first
        )
        try:
            async with asyncio.timeout(10):
                await _answers(port)
            yield f"nats://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                process.terminate()
            await process.wait()


async def _answers(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
