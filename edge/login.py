"""From a server's address to a connection that may be used: TCP, TLS, CONNECT."""

import json

from edge import port
from edge.errors import BusError, ProtocolError
from edge.wire import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


EARLY = 16
"""What a server may say that is not waited for, while it lets us in."""


def address(server: str) -> "tuple[str, int, bool, str, str]":
    """Host, port, whether TLS is asked for, user and password (or token) of a URL.

    Raises:
        BusError: it is no address of a NATS server.
    """
    scheme, found, rest = server.partition("://")
    if not found:
        scheme, rest = "nats", server
    before, _, where = rest.rpartition("@")
    user, _, password = before.partition(":")
    where = where.split("/")[0]
    host, colon, number = where.rpartition(":")
    if not colon or where.endswith("]"):
        host, number = where, "4222"
    host = host.strip("[]")
    digits = 0 < len(number) < 6 and all(one in "0123456789" for one in number)
    if scheme not in ("nats", "tls") or not host or not digits or not 0 < int(number) < 65_536:
        raise BusError(f"server {where[:200]}: write nats://host:port or tls://host:port")
    return host, int(number), scheme == "tls", user, password


def context(settings: "dict[str, Any]") -> "Any":
    """How TLS is to be done.

    Raises:
        OSError, ValueError: a file is missing or no certificate.
    """
    import ssl

    if not port.MICRO:
        made = ssl.create_default_context(cafile=settings["tls_ca"] or None)
        if settings["tls_cert"]:
            made.load_cert_chain(settings["tls_cert"], settings["tls_key"] or None)
        return made
    bare: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.verify_mode = ssl.CERT_REQUIRED
    with open(settings["tls_ca"], "rb") as file:
        # No system certificates here, so there must be a file, in DER.
        bare.load_verify_locations(file.read())
    if settings["tls_cert"]:
        bare.load_cert_chain(settings["tls_cert"], settings["tls_key"])
    return bare


def readable(settings: "dict[str, Any]") -> None:
    """Look at the start whether there are the files that ``settings`` name.

    Raises:
        ValueError: naming the setting and the file that cannot be read.
    """
    for name in ("creds", "nkey", "tls_ca", "tls_cert", "tls_key"):
        path = settings[name]
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as problem:
                raise ValueError(f"{name} {path}: it cannot be read: {problem}") from None


async def enter(
    server: str, settings: "dict[str, Any]", name: str, parser: Parser, early: "list[Any]"
) -> "tuple[Any, dict[str, Any]]":
    """The streams of a connection that the server has let in, and its INFO. What it says
    beyond that is put into ``early``.

    Raises:
        BusError: the server refused. ``OSError``, ``ProtocolError`` as they come.
    """
    host, number, wants_tls, user, password = address(server)
    first = settings["tls_first"]
    wants_tls = wants_tls or first or settings["tls_ca"]
    tls = context(settings) if wants_tls else None
    streams = await port.connect(host, number, tls if first else None)
    try:
        info = _information(await _next(streams, parser, early, "INFO"))
        if not first and (info.get("tls_required") or wants_tls):
            if not info.get("tls_required") and not info.get("tls_available"):
                raise BusError("the server has no TLS, and it is asked for")
            if early or parser.busy or getattr(streams[0], "_buffer", None):
                # Anybody on the way could have said it, and TLS would make it the server's word.
                raise ProtocolError("the server says more than INFO before TLS")
            streams = await port.secure(streams, tls or context(settings), host)
        wish = {
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "protocol": 1,
            "lang": "fleetbus-edge",
            "version": "1",
            "name": name,
        }
        wish.update(_proof(settings, info.get("nonce", ""), user, password))
        streams[1].write(b"CONNECT " + json.dumps(wish).encode() + b"\r\nPING\r\n")
        await streams[1].drain()
        await _next(streams, parser, early, "PONG")
    except BaseException:
        await port.hang_up(streams)
        raise
    return streams, info


def _information(line: str) -> "dict[str, Any]":
    """What the server says of itself.

    Raises:
        ProtocolError: it is no server's INFO.
    """
    try:
        info = json.loads(line)
    except (ValueError, RuntimeError):
        info = None
    most = info.get("max_payload") if isinstance(info, dict) else None
    if not isinstance(info, dict) or not isinstance(most, int) or most < 1:
        raise ProtocolError("the server's INFO is not one")
    return info


async def _next(streams: "Any", parser: Parser, early: "list[Any]", verb: str) -> str:
    """The rest of the line that begins with ``verb``."""
    while True:
        for at, one in enumerate(early):
            if isinstance(one, tuple) and one[0] in (verb, "-ERR"):
                del early[at]
                if one[0] == "-ERR":
                    raise BusError("the server refused: " + one[1])
                return str(one[1])
        if len(early) > EARLY:
            raise ProtocolError(f"the server says everything but {verb}")
        data = await streams[0].read(4096)
        if not data:
            raise BusError("the server closed the connection")
        early.extend(parser.feed(data))


def _proof(settings: "dict[str, Any]", nonce: str, user: str, password: str) -> "dict[str, str]":
    """Who we are. Files are read anew each time: credentials are renewed while we run."""
    if settings["creds"] or settings["nkey"]:
        from edge import nkeys

        if settings["creds"]:
            jwt, key = nkeys.credentials(settings["creds"])
            return {"jwt": jwt, "sig": key.sign(nonce.encode())}
        key = nkeys.seed(settings["nkey"])
        return {"nkey": key.public, "sig": key.sign(nonce.encode())}
    user = settings["user"] or user
    if user and (settings["password"] or password):
        return {"user": user, "pass": settings["password"] or password}
    token = settings["token"] or user
    return {"auth_token": token} if token else {}
