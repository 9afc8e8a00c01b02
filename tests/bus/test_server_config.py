from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from pathlib import Path

import pytest

from bus.errors import ServerError
from bus.server_config import (
    Place,
    ServerConfig,
    asks_password,
    is_loopback,
    reachable,
    render_config,
    write_config,
)
from bus.server_probe import find_binary, read_version

PLACE = Place(
    host="127.0.0.1",
    port=4222,
    directory=Path("/var/lib/fleetbus"),
    server_name="fleetbus-1",
    version=(2, 15),
    password="fleet-secret",
    system_password="system-secret",
)

RENDERED = """\
# Written by fleetbus at each start: changes are lost.
server_name: "fleetbus-1"
host: "127.0.0.1"
port: 4222
ports_file_dir: "/var/lib/fleetbus"
log_file: "/var/lib/fleetbus/nats-server.log"
logfile_size_limit: 64MB
logfile_max_num: 2
no_auth_user: fleet
system_account: SYS
jetstream {
  store_dir: "/var/lib/fleetbus"
  max_file_store: 1099511627776
  limits { default_max_consumers: 100000 }
}
accounts {
  SYS {
    users: [{ user: sys, password: "system-secret" }]
    exports: [{ stream: "$SYS.ACCOUNT.FLEET.CONNECT", accounts: [FLEET] }, \
{ stream: "$SYS.ACCOUNT.FLEET.DISCONNECT", accounts: [FLEET] }]
  }
  FLEET {
    jetstream: enabled
    users: [{ user: fleet, password: "fleet-secret" }]
    imports: [{ stream: { account: SYS, subject: "$SYS.ACCOUNT.FLEET.DISCONNECT" }, \
to: "fleet.sys.disconnect" }]
  }
}
"""


def test_render() -> None:
    assert render_config(ServerConfig(), PLACE) == RENDERED


@pytest.mark.parametrize(
    ("config", "place", "present", "absent"),
    [
        ({}, {"version": (2, 12)}, "jetstream {", "default_max_consumers"),
        ({}, {"version": (2, 14)}, "jetstream {", "default_max_consumers"),
        ({}, {"version": (3, 0)}, "default_max_consumers: 100000", "sync_interval"),
        ({"max_consumers": 7}, {}, "default_max_consumers: 7", "100000"),
        ({"sync_always": True}, {}, "  sync_interval: always", "max_payload"),
        ({"max_payload": 65536}, {}, "max_payload: 65536", "sync_interval"),
        ({"disconnect_events": False}, {}, "jetstream: enabled", "$SYS"),
        ({"password": "x"}, {"password": "x"}, 'user: fleet, password: "x"', "no_auth_user"),
        ({}, {"host": "0.0.0.0"}, 'host: "0.0.0.0"', "no_auth_user"),
        ({}, {"host": "::1"}, "no_auth_user: fleet", "0.0.0.0"),
        ({}, {"port": 0}, "port: -1", "port: 0"),
    ],
)
def test_render_each_choice(
    config: dict[str, object], place: dict[str, object], present: str, absent: str
) -> None:
    text = render_config(
        dataclasses.replace(ServerConfig(), **config),  # type: ignore[arg-type]  # table of mixed values
        dataclasses.replace(PLACE, **place),  # type: ignore[arg-type]  # the same
    )
    assert present in text
    assert absent not in text


@pytest.mark.parametrize("name", ["plain", 'we"ird $HOME ü\\x {}#', "a b\tc"])
def test_server_accepts_what_is_rendered(tmp_path: Path, name: str) -> None:
    version = asyncio.run(read_version(find_binary()))
    place = dataclasses.replace(PLACE, directory=tmp_path / name, port=0, version=version)
    place.directory.mkdir()
    if not name.isprintable():
        with pytest.raises(ServerError, match="printable characters only"):
            write_config(ServerConfig(), place)
        return
    path = write_config(ServerConfig(sync_always=True, max_payload=1 << 20), place)
    checked = subprocess.run(
        [find_binary(), "-t", "-c", path], capture_output=True, text=True, timeout=20
    )
    assert checked.returncode == 0, checked.stderr


def test_password_that_would_break_a_url_is_refused() -> None:
    with pytest.raises(ServerError, match="A-Z a-z 0-9 _ -"):
        render_config(ServerConfig(), dataclasses.replace(PLACE, password="a@b"))


def test_passwords_stay_out_of_tracebacks() -> None:
    assert "secret" not in repr(PLACE)
    assert "secret" not in repr(ServerConfig(password="secret"))


@pytest.mark.parametrize(
    ("host", "loopback", "connect_to"),
    [
        ("127.0.0.1", True, "127.0.0.1"),
        ("127.8.8.8", True, "127.8.8.8"),
        ("::1", True, "::1"),
        ("localhost", True, "localhost"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("::", False, "::1"),
        ("10.0.0.1", False, "10.0.0.1"),
        ("nats.example", False, "nats.example"),
    ],
)
def test_hosts(host: str, loopback: bool, connect_to: str) -> None:
    assert is_loopback(host) is loopback
    assert reachable(host) == connect_to
    assert asks_password(ServerConfig(), host) is not loopback
    assert asks_password(ServerConfig(password="x"), host)
