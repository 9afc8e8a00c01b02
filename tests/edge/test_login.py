"""How an edge agent is let in: addresses, passwords, tokens, keys and TLS, with real servers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys as reference
import pytest

from bus.testing import eventually
from edge.client import Client
from edge.errors import BusError
from edge.login import address
from edge.settings import load
from tests.support.configured import certificates, configured


@pytest.mark.parametrize(
    ("server", "found"),
    [
        ("nats://h:1", ("h", 1, False, "", "")),
        ("tls://h:1", ("h", 1, True, "", "")),
        ("h", ("h", 4222, False, "", "")),
        ("h:1", ("h", 1, False, "", "")),
        ("nats://h/", ("h", 4222, False, "", "")),
        ("nats://u:p@h:1/x", ("h", 1, False, "u", "p")),
        ("u:p@h", ("h", 4222, False, "u", "p")),
        ("nats://t@h", ("h", 4222, False, "t", "")),
        ("nats://u:p@x:q@h:1", ("h", 1, False, "u", "p@x:q")),
        ("nats://[::1]:1", ("::1", 1, False, "", "")),
        ("tls://u:p@[::1]", ("::1", 4222, True, "u", "p")),
    ],
)
def test_addresses(server: str, found: tuple[object, ...]) -> None:
    assert address(server) == found


@pytest.mark.parametrize(
    "server",
    ["", "http://h:1", "nats://", "nats://:1", "h:x", "h:", "h:0", "h:65536", "h:²", "://h"],
)
def test_what_is_no_address(server: str) -> None:
    with pytest.raises(BusError, match="write nats://host:port or tls://host:port"):
        address(server)


@asynccontextmanager
async def trying(url: str, **settings: Any) -> AsyncIterator[Client]:
    client = Client(load({"url": url, "reconnect_max": 0.05, **settings}), "test")
    task = asyncio.create_task(client.run())
    try:
        yield client
        assert not task.done(), "the connection gave up"
    finally:
        await client.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def let_in(url: str, **settings: Any) -> None:
    """Assert that it is, and that the connection is of use."""
    async with trying(url, **settings) as client:
        await eventually(lambda: client.connected)
        await client.flush()
        assert (await client.request("nobody")).headers["Status"] == "503"


async def kept_out(caplog: pytest.LogCaptureFixture, said: str, url: str, **settings: Any) -> None:
    """Assert that it is, and what is logged."""
    caplog.clear()
    async with trying(url, **settings) as client:
        await eventually(lambda: said in caplog.text)
        assert client.generation == 0


async def test_user_and_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = "authorization { users: [ {user: me, password: 's3cret'} ] }"
    async with configured(tmp_path, users) as port:
        where = f"127.0.0.1:{port}"
        await let_in(f"nats://me:s3cret@{where}")
        await let_in(where, user="me", password="s3cret")
        await kept_out(caplog, "Authorization Violation", f"nats://me:wr0ng@{where}")
        assert "wr0ng" not in caplog.text
        await kept_out(caplog, "Authorization Violation", where)


async def test_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with configured(tmp_path, "authorization { token: 's3cret' }") as port:
        await let_in(f"nats://s3cret@127.0.0.1:{port}")
        await let_in(f"127.0.0.1:{port}", token="s3cret")
        await kept_out(caplog, "Authorization Violation", f"nats://x@127.0.0.1:{port}")


def key(prefix: int, fill: int) -> Any:
    """A key pair of a role."""
    return reference.from_seed(bytearray(reference.encode_seed(bytes([fill]) * 32, prefix)))


def seed(fill: int) -> str:
    text: bytes = reference.encode_seed(bytes([fill]) * 32, reference.PREFIX_BYTE_USER)
    return text.decode()


async def test_nkey(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    public = key(reference.PREFIX_BYTE_USER, 1).public_key.decode()
    file = tmp_path / "seed"
    file.write_text(seed(1))
    async with configured(tmp_path, f"authorization {{ users: [ {{nkey: {public}}} ] }}") as port:
        await let_in(f"127.0.0.1:{port}", nkey=str(file))
        file.write_text(seed(2))
        await kept_out(caplog, "Authorization Violation", f"127.0.0.1:{port}", nkey=str(file))
        await kept_out(caplog, "missing", f"127.0.0.1:{port}", nkey=str(tmp_path / "missing"))


def jwt(issuer: Any, subject: Any, kind: str) -> str:
    """What nsc would make."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    claims = {
        "jti": "X",
        "iat": 1_700_000_000,
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": kind,
        "nats": {"type": kind, "version": 2},
    }
    if kind == "account":
        unlimited = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
        claims["nats"] = {
            "type": kind,
            "version": 2,
            "limits": {**dict.fromkeys(unlimited, -1), "wildcards": True},
        }
    if kind == "user":
        claims["nats"] = {"type": kind, "version": 2, "subs": -1, "data": -1, "payload": -1}
    head = part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = f"{head}.{part(json.dumps(claims).encode())}"
    return f"{body}.{part(issuer.sign(body.encode()))}"


async def test_credentials_which_are_renewed_while_it_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operator = key(reference.PREFIX_BYTE_OPERATOR, 1)
    account = key(reference.PREFIX_BYTE_ACCOUNT, 2)
    user = key(reference.PREFIX_BYTE_USER, 3)
    known = f"{account.public_key.decode()}: {jwt(operator, account, 'account')}"
    config = (
        f"operator: {jwt(operator, operator, 'operator')}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {known} }}"
    )
    file = tmp_path / "device.creds"

    def write(text: str) -> None:
        file.write_text(
            f"-----BEGIN NATS USER JWT-----\n{text}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed(3)}\n------END USER NKEY SEED------\n"
        )

    async with configured(tmp_path, config) as port:
        url = f"127.0.0.1:{port}"
        write(jwt(user, user, "user"))  # nobody's
        async with trying(url, creds=str(file)) as client:
            await eventually(lambda: "Authorization Violation" in caplog.text)
            file.write_text("torn")
            await eventually(lambda: "device.creds" in caplog.text)
            write(jwt(account, user, "user"))
            await eventually(lambda: client.connected)
            await client.flush()


# TLS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    certificates(directory)
    return directory


def tls(made: Path, more: str = "") -> str:
    cert, private, ca = made / "server.pem", made / "server-key.pem", made / "ca.pem"
    return f'tls {{ cert_file: "{cert}", key_file: "{private}", ca_file: "{ca}", {more} }}'


async def test_tls_after_a_plain_beginning(
    tmp_path: Path, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = str(made / "ca.pem")
    async with configured(tmp_path, tls(made)) as port:
        await let_in(f"tls://127.0.0.1:{port}", tls_ca=ca)
        await let_in(f"nats://127.0.0.1:{port}", tls_ca=ca)
        for url in (f"tls://127.0.0.1:{port}", f"127.0.0.1:{port}"):
            await kept_out(caplog, "CERTIFICATE_VERIFY_FAILED", url)
            await kept_out(caplog, "CERTIFICATE_VERIFY_FAILED", url, tls_ca=str(made / "other.pem"))
        # The certificate is for the address, not for the name.
        await kept_out(caplog, "Hostname mismatch", f"tls://localhost:{port}", tls_ca=ca)
        await kept_out(caplog, "No such file", f"tls://127.0.0.1:{port}", tls_ca="missing.pem")


async def test_tls_from_the_first_byte(
    tmp_path: Path, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = str(made / "ca.pem")
    async with configured(tmp_path, tls(made, "handshake_first: true")) as port:
        await let_in(f"tls://127.0.0.1:{port}", tls_ca=ca, tls_first=True)
        await let_in(f"nats://127.0.0.1:{port}", tls_ca=ca, tls_first=True)
        await kept_out(caplog, "VERIFY_FAILED", f"nats://127.0.0.1:{port}", tls_first=True)


async def test_both_sides_with_certificates(
    tmp_path: Path, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = str(made / "ca.pem")
    mine = {"tls_cert": str(made / "client.pem"), "tls_key": str(made / "client-key.pem")}
    async with configured(tmp_path, tls(made, "verify: true")) as port:
        await let_in(f"tls://127.0.0.1:{port}", tls_ca=ca, **mine)
        await kept_out(caplog, "trying again", f"tls://127.0.0.1:{port}", tls_ca=ca)


async def test_a_ca_that_is_given_means_tls(
    nats_url: str, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await kept_out(caplog, "the server has no TLS", nats_url, tls_ca=str(made / "ca.pem"))


async def test_tls_that_the_server_only_offers(tmp_path: Path, made: Path) -> None:
    text = tls(made) + "\nallow_non_tls: true"
    async with configured(tmp_path, text) as port:
        await let_in(f"tls://127.0.0.1:{port}", tls_ca=str(made / "ca.pem"))
        await let_in(f"nats://127.0.0.1:{port}")
