"""Who a connection claims to be, and how that is shown and explained to people."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, Final

from nats import errors as nats_errors

from bus.errors import SettingsError
from bus.settings import BusSettings

_SECRET: Final = re.compile(r"(^|\w+://)(?:(?!\w+://).)*@", re.DOTALL)
"""All from a scheme, or the beginning, to the last @ before the next scheme."""


def credentials(s: BusSettings) -> dict[str, Any]:
    """The arguments of nats-py that say who we are, and the TLS context.

    Raises:
        SettingsError: a TLS file cannot be read or used.
    """
    found: dict[str, Any] = {}
    if s.creds:
        found["user_credentials"] = str(Path(s.creds).expanduser())
    if s.nkey:
        found["nkeys_seed"] = str(Path(s.nkey).expanduser())
    if s.user:
        found |= {"user": s.user, "password": s.password}
    if s.token:
        found["token"] = s.token
    if s.tls_ca or s.tls_cert or "tls://" in s.url:
        try:
            found["tls"] = _tls(s)
        except OSError as problem:  # as are those of ssl
            names = ", ".join(filter(None, (s.tls_ca, s.tls_cert, s.tls_key)))
            raise SettingsError(f"TLS files {names}", f"cannot be used: {problem}") from None
    return found


def _tls(s: BusSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(
        cafile=str(Path(s.tls_ca).expanduser()) if s.tls_ca else None
    )
    if s.tls_cert:
        context.load_cert_chain(
            str(Path(s.tls_cert).expanduser()), str(Path(s.tls_key).expanduser())
        )
    return context


def shown(url: str) -> str:
    """The URL or URLs without a password in them, even one that should have been escaped."""
    return _SECRET.sub(r"\1***@", url)


def explain(error: BaseException) -> str:
    """Why a connection could not be made, and what to do about it."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in text:
        return "connection refused: is nats-server running there? ('fleetbus up' starts one)"
    if isinstance(error, TimeoutError | nats_errors.TimeoutError):
        return "no answer in time: check the address, and FLEETBUS_CONNECT_TIMEOUT"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        # It closes right after it has said why, and a reset can overtake what it said.
        return (
            "the server closed the connection at once: it may have "
            "refused these credentials (settings creds, nkey, user, token)"
        )
    if "authorization violation" in text.lower():
        return "the server refused these credentials (settings creds, nkey, user, token)"
    return text
