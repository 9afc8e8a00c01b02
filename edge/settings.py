"""What an agent may be told about its bus: arguments first, then the environment."""

from edge import port
from edge.errors import BusError
from edge.login import address
from edge.names import token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULTS = {
    "url": "nats://127.0.0.1:4222",
    "fleet": "dev",
    "profile": "lan",
    "creds": "",
    "nkey": "",
    "user": "",
    "password": "",
    "token": "",
    "tls_ca": "",
    "tls_cert": "",
    "tls_key": "",
    "tls_first": False,
    "ping": 10.0,
    "reconnect_max": 5.0,
    "largest": 65_536,
    "buffer": 262_144,
    "spool": "",
    "spool_bytes": 262_144,
    "spool_rate": 200,
    "heap_reserve": 0,
}
"""
- ``url``: one or several with commas between; ``tls://`` asks for TLS.
- ``profile``: how sparing the agent is with its link, see ``PROFILES``.
- ``creds``, ``nkey``: paths of a NATS credentials file, or of a file with an nkey seed.
- ``tls_first``: TLS from the first byte; the server has ``handshake_first`` then.
- ``ping``: seconds of silence after which the server is asked whether it is there.
- ``reconnect_max``: seconds of the longest pause between two tries to connect.
- ``largest``: bytes of an input that is taken; a longer one is rejected.
- ``buffer``: bytes that may wait to be sent.
- ``spool``: folder for what must outlive the link and the power; empty for none.
- ``spool_bytes``: how much it may hold.
- ``spool_rate``: messages of kept readings a second that are sent when the link is back.
- ``heap_reserve``: free bytes of heap below which no task is taken; MicroPython only.
"""

PROFILES = {
    "lan": {"idle": 0, "lease": 0, "ping": 10.0, "reconnect_max": 5.0},
    "wan": {"idle": 60, "lease": 900, "ping": 60.0, "reconnect_max": 30.0},
    "edge": {"idle": 300, "lease": 3600, "ping": 240.0, "reconnect_max": 120.0},
}
"""``idle``: seconds between heartbeats while nothing happens, if that is more than the fleet's
interval. ``lease``: seconds until the broker expires the registry entry, if that is more."""

PREFIX = "FLEETBUS_"


def load(given: "dict[str, Any]") -> "dict[str, Any]":
    """The settings in force. None counts as not given.

    Raises:
        ValueError: naming the setting, where it comes from, and the rule.
    """
    for name in given:
        if name not in DEFAULTS:
            known = ", ".join(sorted(DEFAULTS))
            raise ValueError(f"there is no setting {name}; known are {known}")
    found: dict[str, Any] = {}
    sources = {}
    for name, default in DEFAULTS.items():
        value, source = given.get(name), "argument " + name
        if value is None:
            value, source = port.getenv(PREFIX + name.upper()) or None, PREFIX + name.upper()
        if value is None:
            continue
        sources[name] = source
        try:
            found[name] = _read(value, default)
        except (ValueError, TypeError, OverflowError):
            said = "the value" if name in ("password", "token") else str(value)[:80]
            raise ValueError(f"{source}: {said} is not {_rule(default)}") from None
    profile = found.get("profile", "lan")
    if profile not in PROFILES:
        known = ", ".join(sorted(PROFILES))
        raise ValueError(f"{sources['profile']}: {profile[:80]} is none of {known}")
    made = dict(DEFAULTS)
    made.update(PROFILES[profile])
    made.update(found)
    source = sources.get("fleet", "fleet")
    token(source + ":", made["fleet"])
    if made["fleet"] == "sys":
        raise ValueError(f"{source}: fleet sys is the server's own: choose another")
    for server in str(made["url"]).split(","):
        try:
            address(server.strip())
        except BusError as problem:
            raise ValueError(f"{sources.get('url', 'url')}: {problem}") from None
    return made


def _rule(default: "Any") -> str:
    if isinstance(default, str):
        return "text"
    if isinstance(default, bool):
        return "true or false"
    kind = "a whole number" if isinstance(default, int) else "a number"
    return kind + (" of more than 0" if default else " from 0")


def _read(value: "Any", default: "Any") -> "Any":
    if isinstance(default, bool):
        if str(value).lower() not in ("1", "true", "yes", "0", "false", "no"):
            raise ValueError
        return str(value).lower() in ("1", "true", "yes")
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ValueError
        return value
    if isinstance(value, bool):
        raise ValueError
    made = type(default)(value)
    if isinstance(value, float) and made != value:
        raise ValueError
    if made < 0 or (made == 0 and default) or made != made or made == float("inf"):
        raise ValueError
    return made
