"""A tiny HTTP server for probes and scrapes: /healthz, /readyz, /metrics. GET and HEAD only.

Each connection carries one request and is bounded in size, time and number, because these
ports tend to be reachable by more than the one who should ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, Self

from bus.errors import SettingsError

log = logging.getLogger("fleetbus.coordinator")

MAX_HEAD: Final = 8192
"""Bytes of a request line and headers."""

PATIENCE: Final = 5.0
"""Seconds for one request and its answer."""

MAX_CONNECTIONS: Final = 64

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
TEXT: Final = "text/plain; charset=utf-8"

Check = Callable[[], str]
Render = Callable[[], tuple[str, bytes]]


class Response(NamedTuple):
    status: int
    body: bytes
    content_type: str = TEXT


class HealthServer:
    """Answers while it is entered.

    Args:
        address: ``host:port``; port 0 picks a free one.
        unready: why the process should get no work, empty if it should. ``/readyz`` says so.
        metrics: content type and body of ``/metrics``.
    """

    def __init__(self, address: str, unready: Check, metrics: Render) -> None:
        self.host, _, port = address.rpartition(":")
        self.host = self.host.strip("[]")
        self.port = int(port)
        self._unready = unready
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        try:
            self._server = await asyncio.start_server(
                self._on_connection, self.host, self.port, limit=MAX_HEAD
            )
        except OSError as problem:
            raise SettingsError(
                "setting http", f"cannot listen on {self.host}:{self.port}: {problem}"
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._converse(reader, writer)
        except (TimeoutError, OSError) as problem:
            log.debug("http: a connection was given up: %s", problem)
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = ""
        try:
            async with asyncio.timeout(PATIENCE / 2):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            response = Response(431, b"the request's headers are too large\n")
        except TimeoutError:
            response = Response(408, b"the request did not come in time\n")
        except asyncio.IncompleteReadError as cut:
            if not cut.partial:
                return
            response = Response(400, b"the request is incomplete\n")
        else:
            method, response = self._answer(head)
        writer.write(render(response, head_only=method == "HEAD"))
        await writer.drain()
        if response.status in (408, 431):
            writer.write_eof()
            # Closing on unread bytes would reset the connection and take the answer with it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while await reader.read(65536):
                        pass

    def _answer(self, head: bytes) -> tuple[str, Response]:
        parts = head.split(b"\r\n", 1)[0].split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            return "", Response(400, b"this is not HTTP/1\n")
        method = parts[0].decode("ascii", "replace")
        if method not in ("GET", "HEAD"):
            return method, Response(405, b"use GET\n")
        path = parts[1].partition(b"?")[0].decode("ascii", "replace")
        return method, self._page(path)

    def _page(self, path: str) -> Response:
        match path:
            case "/healthz":
                # Alive is all that it says: a restart of this process mends no broker.
                return Response(200, b"ok\n")
            case "/readyz":
                why = self._unready()
                return Response(503, f"{why}\n".encode()) if why else Response(200, b"ready\n")
            case "/metrics":
                try:
                    content_type, body = self._metrics()
                except Exception:  # a scrape must not end the server, whatever a collector does
                    log.exception("metrics could not be collected")
                    return Response(500, b"metrics could not be collected\n")
                return Response(200, body, content_type)
            case _:
                return Response(404, b"there are /healthz, /readyz and /metrics\n")


def render(response: Response, head_only: bool = False) -> bytes:
    """The bytes of an answer."""
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if response.status == 405:
        lines.append("Allow: GET, HEAD")
    head = "\r\n".join([*lines, "", ""]).encode()
    return head if head_only else head + response.body
