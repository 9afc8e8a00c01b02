"""A nats-server on a configuration file, as a unit runs it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from bench.harness.errors import ChildFailed
from bus.leash import leashed
from bus.server_probe import find_binary

TIMEOUT: Final = 30.0
"""Seconds until it must be ready, and after that until it must have ended."""


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@asynccontextmanager
async def configured_server(config: Path) -> AsyncIterator[None]:
    """The server of ``config``, from when it is ready. It dies with this process.

    Raises:
        ChildFailed: it ended, or was not ready in time; the end of its log is quoted.
        ServerError: there is no nats-server.
    """
    path = config.with_suffix(".log")
    command = [str(find_binary()), "-c", str(config)]
    with path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *leashed(command),
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is not for it: its clients are to go first
        )
    try:
        async with asyncio.timeout(TIMEOUT):
            while b"Server is ready" not in path.read_bytes():
                if process.returncode is not None:
                    raise ChildFailed(" ".join(command), f"ended: {_end(path)}")
                await asyncio.sleep(0.02)
        yield
    except TimeoutError as error:
        raise ChildFailed(" ".join(command), f"was not ready: {_end(path)}") from error
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            process.kill()
        await process.wait()


def _end(path: Path) -> str:
    return path.read_text(errors="replace")[-500:]
