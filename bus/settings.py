"""How to reach a fleet: settings from arguments, then the environment, then a file.

Checked with msgspec and not with pydantic: every agent loads this module, and pydantic would
cost it 7 MB and 80 ms (docs/adr/0003-settings-without-pydantic.md).
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from bus.errors import SettingsError
from bus.subjects import RESERVED_FLEET, token

PREFIX: Final = "FLEETBUS_"
FILES: Final = (Path("fleetbus.toml"), Path("~/.config/fleetbus/fleetbus.toml"))
"""Looked for in this order when neither an argument nor FLEETBUS_CONFIG names a file."""


class BusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the bus is and how to behave on it.

    A setting ``name`` is read from the argument ``name``, the variable ``FLEETBUS_NAME`` or
    the key ``name`` of the settings file, the first that has it.
    """

    url: str = "nats://127.0.0.1:4222"
    """One URL or several with commas between; ``tls://`` asks for TLS."""
    fleet: str = "dev"
    name: str = ""
    """What the server shows for this connection."""
    creds: str = ""
    """Path of a NATS credentials file (user JWT and seed)."""
    nkey: str = ""
    """Path of a file with an nkey seed."""
    user: str = ""
    password: str = ""
    token: str = ""
    tls_ca: str = ""
    """Path of the CA certificate; empty for the system's."""
    tls_cert: str = ""
    tls_key: str = ""
    connect_timeout: float = 5.0
    """Seconds for one attempt: lower = a dead server is given up sooner, slow links fail."""
    request_timeout: float = 5.0
    """Seconds to wait for an answer from the server or a peer."""
    ping_interval: float = 10.0
    """Seconds between pings of the server: lower = a dead link is seen sooner, more traffic."""
    reconnect_min: float = 0.05
    """Seconds of the first reconnect delay's upper bound."""
    reconnect_max: float = 5.0
    """Seconds of the last one's: lower = back sooner, a larger herd after a server restart."""
    buffer_bytes: int = 8 * 1024 * 1024
    """Bytes that may wait for a reconnect before publishing raises."""

    def __repr__(self) -> str:
        # It ends up in logs and tracebacks; nothing that opens a door may.
        return f"BusSettings(fleet={self.fleet!r}, …)"


SECTIONS: Final = ("topology", "coordinator")
"""Tables of the settings file beside the connection's own keys."""

S = TypeVar("S", bound=msgspec.Struct)


def load(
    arguments: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> BusSettings:
    """The connection settings in force. An argument of None counts as not given.

    Raises:
        SettingsError: naming the source, the setting and the rule.
        InvalidName: the fleet's name is not a legal token.
    """
    settings, source = read(BusSettings, "", arguments, environ)
    token("fleet", settings.fleet)
    if settings.fleet == RESERVED_FLEET:
        raise SettingsError(source["fleet"], "fleet 'sys' is the server's own: choose another")
    for name in ("creds", "nkey", "tls_ca", "tls_cert", "tls_key"):
        file = getattr(settings, name)
        if file and not Path(file).expanduser().is_file():
            raise SettingsError(source[name], f"setting {name}: there is no file {file}")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError("settings", "tls_cert and tls_key go together: give both or neither")
    if settings.user and not settings.password:
        raise SettingsError(source["user"], "setting user needs the setting password too")
    return settings


def read(
    kind: type[S],
    section: str,
    arguments: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[S, dict[str, str]]:
    """Settings of one ``kind`` and where each value that is not a default came from.

    ``section`` is the table of the settings file, and the middle of the variable's name:
    ``FLEETBUS_<SECTION>_<NAME>``. It is empty for the connection's own settings. Every number
    must be positive and finite, or 0 where that is its default.

    Raises:
        SettingsError: naming the source, the setting and the rule.
    """
    env = os.environ if environ is None else environ
    fields = {f.name: f for f in msgspec.structs.fields(kind)}
    prefix = PREFIX + (f"{section.upper()}_" if section else "")
    values: dict[str, Any] = {}
    source: dict[str, str] = {}
    path = _file(env)
    if path is not None:
        table = _read(path)
        for name, value in table.items():
            if isinstance(value, dict) and name not in SECTIONS:
                known = ", ".join(SECTIONS)
                raise SettingsError(str(path), f"there is no section {name!r}; known are {known}")
        if section:
            table = table.get(section, {})
            if not isinstance(table, dict):
                raise SettingsError(str(path), f"{section} must be a table, begun by [{section}]")
        for name, value in table.items():
            if section or not isinstance(value, dict):
                values[name], source[name] = value, str(path)
    if section:
        for variable in env:
            if variable.startswith(prefix) and variable[len(prefix) :].lower() not in fields:
                raise SettingsError(
                    f"environment {variable}",
                    f"there is no such setting; known are {', '.join(sorted(fields))}",
                )
    for name in fields:
        variable = prefix + name.upper()
        if env.get(variable, "") != "":
            values[name], source[name] = env[variable], f"environment {variable}"
    for name, value in (arguments or {}).items():
        if value is not None:
            values[name], source[name] = value, f"argument {name}"
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            known = ", ".join(sorted(fields))
            raise SettingsError(source[name], f"there is no setting {name!r}; known are {known}")
        try:
            checked = msgspec.convert(value, field.type, strict=False)
        except msgspec.ValidationError as problem:
            raise SettingsError(source[name], f"setting {name}: {problem}") from None
        number = isinstance(checked, int | float) and not isinstance(checked, bool)
        if number and not (0 < checked < math.inf or checked == field.default == 0):
            raise SettingsError(source[name], f"setting {name} must be more than 0, and finite")
        values[name] = checked
    return kind(**values), source


def _file(env: Mapping[str, str]) -> Path | None:
    named = env.get(f"{PREFIX}CONFIG", "")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"environment {PREFIX}CONFIG", f"there is no file {named}")
        return path
    return next((p for f in FILES if (p := f.expanduser()).is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise SettingsError(str(path), f"cannot be read as TOML: {problem}") from None
    return table
