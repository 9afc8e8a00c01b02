"""From a server's address to a connection that may be used: TCP, TLS, CONNECT."""

import json

from edge import port
from edge.errors import BusError
from edge.wire import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def address(server: str) -> "tuple[str, int, bool, str, str]":
    """Host, port, whether TLS is asked for, user and password (or token) of a URL.

    Raises:
        BusError: it is no address of a NATS server.
    """
    scheme, found, rest = server.partition("://")
    if not found:
        scheme, rest = "nats", server
    before, at, where = rest.rpartition("@")
    user, _, password = before.partition(":")
    where = where.split("/")[0]
    host, colon, number = where.rpartition(":")
    if not colon or where.endswith("]"):
        host, number = where, "4222"
    host = host.strip("[]")
    if scheme not in ("nats", "tls") or not host or not number.isdigit():
        raise BusError(f"{rest if not at else where}: write nats://host:port or tls://host:port")
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


async def enter(
    server: str, settings: "dict[str, Any]", name: str, parser: Parser, early: "list[Any]"
) -> "tuple[Any, dict[str, Any]]":
    """The streams of a connection that the server has let in, and its INFO. What it says
    beyond that is put into ``early``.

    Raises:
        BusError: the server refused. ``OSError``, ``ProtocolError`` as they come.
    """
    host, number, wants_tls, user, password = address(server)
    tls = context(settings) if wants_tls or settings["tls_ca"] else None
    first = settings["tls_first"]
    streams = await port.connect(host, number, tls if first else None)
    try:
        info = json.loads(await _next(streams, parser, early, "INFO"))
        if not first and (info.get("tls_required") or wants_tls):
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


async def _next(streams: "Any", parser: Parser, early: "list[Any]", verb: str) -> str:
    """The rest of the line that begins with ``verb``."""
    while True:
        for at, one in enumerate(early):
            if isinstance(one, tuple) and one[0] in (verb, "-ERR"):
                del early[at]
                if one[0] == "-ERR":
                    raise BusError("the server refused: " + one[1])
                return str(one[1])
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
