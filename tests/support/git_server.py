"""A Git server on a real port, by smart HTTP; and one that accepts and says nothing."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from dulwich.repo import Repo
from dulwich.server import BackendRepo, DictBackend
from dulwich.web import make_wsgi_chain


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def git_server(path: Path, *, user: str = "", password: str = "") -> Iterator[str]:
    """Serves the repository at ``path``; yields its URL without credentials."""
    with contextlib.closing(Repo(str(path))) as repo:
        served: dict[str, BackendRepo] = {"/config.git": repo}
        git: Any = make_wsgi_chain(DictBackend(served))
        wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            if user and environ.get("HTTP_AUTHORIZATION") != wanted:
                start("401 Unauthorized", [("WWW-Authenticate", "Basic")])
                return [b"who are you?"]
            return git(environ, start)

        with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/config.git"
            finally:
                server.shutdown()
                thread.join(5)


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port where the kernel accepts connections and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def dripping_port(every: float) -> Iterator[int]:
    """A port that answers any request with an endless body, a byte each ``every`` seconds."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n"
                        b"Content-Type: application/x-git-upload-pack-advertisement\r\n\r\nffff"
                    )
                    while not stop.wait(every):
                        connection.sendall(b"x")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
