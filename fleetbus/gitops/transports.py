"""Ways to another machine's repository: https, ssh, and file. Each is used for one fetch."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import urllib3
import urllib3.connection
import urllib3.connectionpool
from dulwich import client as git
from dulwich.config import StackedConfig

from fleetbus.gitops.errors import RepositoryError

SCHEMES: Final = ("https", "http", "ssh", "file")
URL: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://", re.IGNORECASE)
SCP: Final = re.compile(r"(?:(?P<user>[^@/\s:]+)@)?(?P<host>[^/:\s]+):(?P<path>[^\s].*)")


class Transport:
    """A client, and what has to be closed behind it."""

    def __init__(self, client: git.GitClient, path: str) -> None:
        self.client = client
        self.path = path

    def kill(self) -> None:
        """Break it off, from another thread than the one that uses it."""

    def close(self) -> str:
        """Returns what the other side complained of, if nobody has read that."""
        return ""


def find(url: str, location: str, timeout: float) -> Transport:
    """The way to ``url``; makes no connection.

    Args:
        location: the same without credentials.
        timeout: seconds for which a connection may be silent.

    Raises:
        RepositoryError: there is none.
    """
    found = URL.match(url)
    if found is None:
        scp = SCP.fullmatch(url)
        if scp is None:
            raise RepositoryError(location, "not a URL: write https://…, ssh://…, git@host:path")
        return _Ssh(location, scp["host"], scp["user"], None, scp["path"], timeout)
    scheme = found["scheme"].lower()
    if scheme not in SCHEMES:
        raise RepositoryError(
            location, f"{scheme}:// is not supported: use https, ssh, file, or user@host:path"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise RepositoryError(location, f"not a URL: {error}") from None
    if scheme == "file":
        return Transport(git.LocalGitClient(), unquote(parts.path))
    if not host:
        raise RepositoryError(location, f"the URL names no host: write {scheme}://host/path")
    if scheme == "ssh":
        return _Ssh(location, host, parts.username, port, unquote(parts.path), timeout)
    return _Http(url, location, timeout)


class _Http(Transport):
    """Takes proxies, certificates and ``http.extraHeader`` from git's own configuration."""

    def __init__(self, url: str, location: str, timeout: float) -> None:
        config = StackedConfig.default()
        parts = urlsplit(url)
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        if password is None:
            for stored in git.get_credentials_from_store(
                parts.scheme, parts.hostname or "", parts.username
            ):
                user, password = map(unquote, stored)
                break
        self._wires = _Wires()
        manager = git.default_urllib3_manager(config, base_url=location, timeout=timeout)
        self._pool = _Pool(manager, self._wires)
        pool: Any = self._pool
        client = git.Urllib3HttpGitClient(
            location, pool_manager=pool, config=config, username=user, password=password, quiet=True
        )
        super().__init__(client, parts.path)

    def kill(self) -> None:
        self._wires.cut()

    def close(self) -> str:
        self._pool.close()
        self._wires.close()
        return ""


class _Wires:
    """All connections that were made, so that another thread can end what waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    def add(self, made: socket.socket) -> None:
        with self._lock:
            # A duplicate: TLS takes the descriptor out of the one that it is given.
            self._sockets.append(made.dup())
            if self._cut:
                self._shut()

    def cut(self) -> None:
        """Whoever reads from them, or will, finds that they have ended."""
        with self._lock:
            self._cut = True
            self._shut()

    def close(self) -> None:
        with self._lock:
            for one in self._sockets:
                one.close()
            self._sockets.clear()

    def _shut(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):  # the other side was quicker
                one.shutdown(socket.SHUT_RDWR)


def _noted(wires: _Wires) -> dict[str, Any]:
    """urllib3's pools, by scheme, whose connections are noted in ``wires``."""

    class Http(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            wires.add(made)
            return made

    class Https(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            wires.add(made)
            return made

    class HttpPool(urllib3.connectionpool.HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(urllib3.connectionpool.HTTPSConnectionPool):
        ConnectionCls = Https

    return {"http": HttpPool, "https": HttpsPool}


class _Pool:
    """What dulwich needs of urllib3, with the answers that it leaves open remembered."""

    def __init__(self, pool: Any, wires: _Wires) -> None:
        pool.pool_classes_by_scheme = _noted(wires)
        # By default it would try four times, each until the timeout.
        pool.connection_pool_kw["retries"] = urllib3.Retry(
            total=None, connect=0, read=0, status=0, other=0, redirect=5
        )
        self._pool = pool
        self._answers: list[Any] = []

    @property
    def headers(self) -> Any:
        return self._pool.headers

    def request(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._pool.request(*args, **kwargs)
        self._answers.append(answer)
        return answer

    def close(self) -> None:
        for answer in self._answers:
            answer.close()
        self._pool.clear()


class _Ssh(Transport):
    """Runs ``ssh``, or ``GIT_SSH_COMMAND``, which must take its options, so that it never asks."""

    def __init__(
        self,
        location: str,
        host: str,
        user: str | None,
        port: int | None,
        path: str,
        timeout: float,
    ) -> None:
        if f"{user or ''}{host}".startswith("-"):
            raise RepositoryError(
                location, "a host or user cannot begin with a dash: ssh would take it for an option"
            )
        own = os.environ.get("GIT_SSH_COMMAND") or "ssh"
        command = f"{own} -oBatchMode=yes -oConnectTimeout={max(1, int(timeout))}"
        self._vendor = _Vendor()
        self._ssh = _SshClient(
            host, port, user, vendor=self._vendor, ssh_command=command, quiet=True
        )
        super().__init__(self._ssh, path)

    def kill(self) -> None:
        for process in self._vendor.processes:
            process.kill()

    def close(self) -> str:
        self.kill()
        texts: list[bytes] = []
        for process in self._vendor.processes:
            if process.stderr is not None and not process.stderr.closed:
                texts.append(process.stderr.read(4096))
        for protocol in self._ssh.opened:
            protocol.close()
        return b"".join(texts).decode(errors="replace").strip()


class _Vendor(git.SubprocessSSHVendor):
    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def run_command(self, *args: Any, **kwargs: Any) -> git.SubprocessWrapper:
        wrapper = super().run_command(*args, **kwargs)
        self.processes.append(wrapper.proc)
        return wrapper


class _SshClient(git.SSHGitClient):
    """Remembers its connections: dulwich leaves them open if the other side hangs up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened: list[Any] = []

    def _connect(self, *args: Any, **kwargs: Any) -> Any:
        connected = super()._connect(*args, **kwargs)
        self.opened.append(connected[0])
        return connected
