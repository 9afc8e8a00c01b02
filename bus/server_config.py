"""The configuration of the embedded nats-server, rendered from plain values.

``deploy/nats`` holds the same configuration for production, with its reasons.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bus.errors import ServerError
from bus.subjects import DISCONNECTS, Subjects, token

FILE_NAME: Final = "nats-server.conf"
LOG_NAME: Final = "nats-server.log"
_PASSWORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_VARIABLE: Final = re.compile(r"\$[A-Z][A-Z0-9_]*")
FLEET_USER: Final = "fleet"
SYSTEM_USER: Final = "sys"
MQTT: Final = 'ack_wait: "5s"'
"""After so long a device is sent again what it has not acknowledged, also after a reconnect; by
default after 30 s."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A device that may connect by MQTT, and as nobody but itself."""

    fleet: str
    thing: str
    password: str = field(repr=False)


def thing_user(thing: Thing) -> str:
    """The entry in a server's list of users for a device: the rights that it needs, and no more.
    A password such as ``$RELAY_1`` stands for the variable of that name.

    Raises:
        InvalidName: the fleet or the thing is not a legal token.
        ServerError: the password holds a character that it may not.
    """
    subjects = Subjects(thing.fleet)
    token("thing", thing.thing)
    variable = _VARIABLE.fullmatch(thing.password)
    password = thing.password if variable else _quoted(thing.password)
    return (
        f"{{ user: {thing.thing}, password: {password}, "
        'allowed_connection_types: ["MQTT"], permissions: { '
        f"publish: {{ allow: [{_quoted(subjects.thing_ups(thing.thing))}] }}, "
        f"subscribe: {{ allow: [{_quoted(subjects.thing_downs(thing.thing))}] }} }} }}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What the server promises, wherever it runs."""

    sync_always: bool = False
    """Sync every write to disk before it is acknowledged. Without it a power cut can cost the
    writes of the last two minutes (the server's default), a killed server costs none; with it
    each write waits for the disk."""
    max_payload: int | None = None
    """Bytes of the largest message; None is the server's default of 1 MiB. Higher = fewer
    payloads by reference, more memory a connection and longer stalls behind each other."""
    max_consumers: int = 100_000
    """Consumers a stream may have (three a capability). A 2.15 server allows 1,000 unless told
    otherwise, an older one any number."""
    max_store: int = 1 << 40
    """Bytes that the size limits of all streams may add up to. The server's own default is 3/4
    of the free disk, and a few fleets (2.7 GB of limits each) exceed it long before they use it.
    Lower = a full disk is refused in advance."""
    disconnect_events: bool = True
    """Tell the fleet of each connection that ends. Without it a dead agent is noticed by its
    missing heartbeats, in seconds instead of milliseconds."""
    mqtt_port: int | None = None
    """Where devices that speak only MQTT are listened for, on the same address; None: nowhere."""
    things: tuple[Thing, ...] = ()
    """Devices that may connect there. Without a password, on a loopback address, anybody may."""
    password: str = field(default="", repr=False)
    """What clients must give: A-Z a-z 0-9 _ - only, because it becomes part of URLs. Empty: a
    loopback address asks for none, any other for a random one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one server runs and by which names it is known."""

    host: str
    port: int
    """0 lets the server pick a free one."""
    directory: Path
    """Holds the store, the log, the configuration and the file that tells the port."""
    server_name: str
    version: tuple[int, int]
    """Of the server, as far as its configuration depends on it: (2, 15)."""
    password: str = field(repr=False)
    system_password: str = field(repr=False)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reachable(host: str) -> str:
    """The address to connect to when a server listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def asks_password(config: ServerConfig, host: str) -> bool:
    """Whether clients of a server on ``host`` need the fleet user's password."""
    return bool(config.password) or not is_loopback(host)


def render_config(config: ServerConfig, place: Place) -> str:
    """The text of the server's configuration file.

    Raises:
        ServerError: the password or a path holds a character that it may not.
    """
    if not _PASSWORD.fullmatch(place.password):
        raise ServerError("the server's password may hold only A-Z a-z 0-9 _ -")
    jetstream = [
        f"store_dir: {_quoted(place.directory)}",
        f"max_file_store: {config.max_store}",
    ]
    if config.sync_always:
        jetstream.append("sync_interval: always")
    if place.version >= (2, 15):
        # Unknown to older servers, which refuse a configuration with an unknown field.
        jetstream.append(f"limits {{ default_max_consumers: {config.max_consumers} }}")
    top = [
        "# Written by fleetbus at each start: changes are lost.",
        f"server_name: {_quoted(place.server_name)}",
        f"host: {_quoted(place.host)}",
        f"port: {place.port or -1}",
        f"ports_file_dir: {_quoted(place.directory)}",
        f"log_file: {_quoted(place.directory / LOG_NAME)}",
        "logfile_size_limit: 64MB",
        "logfile_max_num: 2",
    ]
    if config.max_payload is not None:
        top.append(f"max_payload: {config.max_payload}")
    if not asks_password(config, place.host):
        top.append(f"no_auth_user: {FLEET_USER}")
    if config.mqtt_port is not None:
        top += _block("mqtt", [f"host: {_quoted(place.host)}", f"port: {config.mqtt_port}", MQTT])
    system = [f"users: [{_login(SYSTEM_USER, place.system_password)}]"]
    users = [_login(FLEET_USER, place.password), *map(thing_user, config.things)]
    fleet = ["jetstream: enabled", f"users: [{', '.join(users)}]"]
    if config.disconnect_events:
        system.append(
            "exports: ["
            '{ stream: "$SYS.ACCOUNT.FLEET.CONNECT", accounts: [FLEET] }, '
            '{ stream: "$SYS.ACCOUNT.FLEET.DISCONNECT", accounts: [FLEET] }]'
        )
        fleet.append(
            'imports: [{ stream: { account: SYS, subject: "$SYS.ACCOUNT.FLEET.DISCONNECT" }, '
            f"to: {_quoted(DISCONNECTS)} }}]"
        )
    return "\n".join(
        [
            *top,
            "system_account: SYS",
            *_block("jetstream", jetstream),
            "accounts {",
            *("  " + line for line in _block("SYS", system)),
            *("  " + line for line in _block("FLEET", fleet)),
            "}",
            "",
        ]
    )


def write_config(config: ServerConfig, place: Place) -> Path:
    """Write the configuration into ``place.directory``, readable by its owner only.

    Raises:
        ServerError: see :func:`render_config`.
    """
    text = render_config(config, place)
    path = place.directory / FILE_NAME
    # A new file, because an existing one could be readable by others.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _block(name: str, lines: list[str]) -> list[str]:
    return [f"{name} {{", *("  " + line for line in lines), "}"]


def _login(name: str, password: str) -> str:
    return f"{{ user: {name}, password: {_quoted(password)} }}"


def _quoted(value: str | Path) -> str:
    text = str(value)
    if not text.isprintable():
        raise ServerError(
            f"{text!r} cannot be written to the server's configuration: "
            "use printable characters only"
        )
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
