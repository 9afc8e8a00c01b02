"""Credentials: files as nsc and people write them, and a real server that lets them in."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.leash import leashed
from bus.server_probe import find_binary
from bus.testing import eventually
from edge import nkeys
from edge.nkeys import CredentialsError

ROOT = Path(__file__).parents[2]
RAW = bytes(range(32))
SEED = reference.encode_seed(RAW, reference.PREFIX_BYTE_USER).decode()
PUBLIC = reference.from_seed(bytearray(SEED.encode())).public_key.decode()
JWT = "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJVIn0.c2lnbmF0dXJl-_"
CREDS = f"""-----BEGIN NATS USER JWT-----
{JWT}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
{SEED}
------END USER NKEY SEED------

*************************************************************
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "device.creds"


@pytest.mark.parametrize(
    "text",
    [
        CREDS,
        CREDS.replace("\n", "\r\n"),
        CREDS.replace("\n", "\n\n"),
        CREDS.replace("\n", "  \n\t "),
        CREDS.rstrip(),
        "\ufeff" + CREDS,
        "# our device in hall 3, S1\n" + CREDS + "# the end\n",
        f"{JWT}\n{SEED}\n",
        f"{SEED}\n\n{JWT}",
        f"{CREDS}\n{CREDS}",
        f"-----BEGIN NATS USER JWT-----\n{JWT}\n-----BEGIN USER NKEY SEED-----\n{SEED}\n",
    ],
)
def test_creds_files(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    jwt, key = nkeys.credentials(str(file))
    assert jwt == JWT
    assert key.public == PUBLIC
    assert nkeys.seed(str(file)).public == PUBLIC


@pytest.mark.parametrize(
    "text",
    [SEED, SEED + "\n", f"\r\n{SEED}\r\n", f"# a comment: S\n{SEED}\n# another\n", "\ufeff" + SEED],
)
def test_seed_files(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    assert nkeys.seed(str(file)).public == PUBLIC


OTHER = reference.encode_seed(bytes(32), reference.PREFIX_BYTE_USER).decode()
ACCOUNT = reference.encode_seed(RAW, reference.PREFIX_BYTE_ACCOUNT).decode()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "there is no seed"),
        (JWT, "there is no seed"),
        (CREDS.replace(SEED, ""), "there is no seed"),
        (SEED[:-1], "has 58 characters, this one 57"),
        (CREDS.replace(SEED, SEED[1:]), "has 58 characters, this one 57"),
        (CREDS.replace(SEED, SEED + "A"), "has 58 characters, this one 59"),
        (SEED[:-1] + "1", "only A-Z and 2-7"),
        (CREDS.replace(SEED, SEED.lower()), "only A-Z and 2-7"),
        (SEED[:20] + ("B" if SEED[20] != "B" else "C") + SEED[21:], "checksum"),
        (SEED[:-2] + SEED[-1] + SEED[-2], "checksum"),
        (SEED[:-1] + chr(ord(SEED[-1]) + 1), "checksum"),  # only in bits that nobody needs
        (ACCOUNT, "not that of a user"),
        (f"{SEED}\n{OTHER}", "two seeds"),
        (f"{JWT}\n{JWT}x\n{SEED}", "two JWTs"),
        (b"\xff\xfe" + SEED.encode("utf-16-le"), "not a text file"),
    ],
)
def test_errors_name_file_rule_and_fix_and_never_the_seed(
    file: Path, text: str | bytes, rule: str
) -> None:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CredentialsError) as raised:
        nkeys.seed(str(file))
    error: BaseException | None = raised.value
    told = str(error)
    assert str(file) in told
    assert rule in told
    assert "nsc generate creds" in told or "keep one" in told
    while error is not None:
        if not error.__suppress_context__ or error is raised.value:
            for secret in (SEED, OTHER, ACCOUNT):
                assert not any(secret[at : at + 8] in str(error) for at in range(4, 50))
        error = error.__cause__


def test_error_of_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(CredentialsError, match=r"device\.creds: can not be read .*; name a file"):
        nkeys.credentials(str(file))


def test_creds_need_a_jwt(file: Path) -> None:
    file.write_text(SEED)
    with pytest.raises(CredentialsError, match="no JWT, only a seed; write the file anew"):
        nkeys.credentials(str(file))


def test_traceback_does_not_show_the_seed(file: Path) -> None:
    """Nor does what Python prints when nobody catches it."""
    file.write_text(SEED[:-2] + "AA")
    code = f"from edge import nkeys; nkeys.seed({str(file)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert "CredentialsError" in done.stderr
    assert SEED[:20] not in done.stderr


@settings(max_examples=40, deadline=None)
@given(raw=st.binary(min_size=32, max_size=32), nonce=st.binary(max_size=60))
def test_same_as_the_reference(raw: bytes, nonce: bytes) -> None:
    text = reference.encode_seed(raw, reference.PREFIX_BYTE_USER)
    expected = reference.from_seed(bytearray(text))
    assert nkeys.decode_seed(text.decode()) == raw
    jwt, key = nkeys.parse(text, "test")
    assert jwt == ""
    assert key.public == expected.public_key.decode()
    signature = base64.urlsafe_b64encode(expected.sign(nonce)).rstrip(b"=").decode()
    assert key.sign(nonce) == signature


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400) | st.text().map(str.encode))
def test_any_bytes_are_credentials_or_an_error(data: bytes) -> None:
    with pytest.raises(CredentialsError):
        nkeys.parse(data, "any")


def test_cryptography_is_used_if_it_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        """What ``cryptography`` offers, as far as it is used; not all machines have it."""

        class Ed25519PrivateKey:
            @staticmethod
            def from_private_bytes(seed: bytes) -> Any:
                class Private:
                    def public_key(self) -> Any:
                        return self

                    def public_bytes_raw(self) -> bytes:
                        return b"p" * 32

                    def sign(self, data: bytes) -> bytes:
                        return b"s" * 64

                return Private()

    name = "cryptography.hazmat.primitives.asymmetric.ed25519"
    monkeypatch.setitem(sys.modules, name, Fake)
    assert nkeys.Nkey(RAW).sign(b"x") == "c3Nz" * 21 + "cw"
    monkeypatch.undo()
    real = pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, name, real)
    fast = nkeys.Nkey(RAW)
    monkeypatch.delitem(sys.modules, name)
    plain = nkeys.Nkey(RAW)
    assert (fast.public, fast.sign(b"x")) == (plain.public, plain.sign(b"x"))


def test_nothing_heavy_is_imported(file: Path) -> None:
    file.write_text(SEED)
    code = (
        "import sys, edge; before = set(sys.modules); from edge import nkeys; "
        f"nkeys.seed({str(file)!r}).sign(b'x'); print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    # hashlib, and no SHA-512 of ours beside it.
    assert {"edge.nkeys", "edge.ed25519"} <= {*done.stdout.split()}
    assert {*done.stdout.split()} <= {
        "edge.nkeys",
        "edge.ed25519",
        "hashlib",
        "_hashlib",
        "_blake2",
    }


# a real server

CONFIG = """
host: 127.0.0.1
port: -1
ports_file_dir: "{directory}"
authorization {{ users: [ {{ nkey: {public} }} ] }}
"""


@asynccontextmanager
async def nkey_server(directory: Path, public: str) -> AsyncIterator[int]:
    """The port of a server that knows one nkey."""
    config = directory / "nkey.conf"
    config.write_text(CONFIG.format(directory=directory, public=public))
    log = directory / "server.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *leashed([str(find_binary()), "-c", str(config)]), stdout=output, stderr=output
        )

    def port() -> int:
        assert process.returncode is None, log.read_text()
        if "Server is ready" not in log.read_text():
            return 0
        announced = json.loads(next(directory.glob("*.ports")).read_bytes())
        return int(announced["nats"][0].rpartition(":")[2])

    try:
        await eventually(port, timeout=10)
        yield port()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def connect(port: int, public: str, signer: nkeys.Nkey) -> str:
    """The server's answer to CONNECT and PING."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(5):
            info = json.loads((await reader.readline())[5:])
            wish = {
                "verbose": False,
                "nkey": public,
                "sig": signer.sign(info["nonce"].encode()),
            }
            writer.write(b"CONNECT " + json.dumps(wish).encode() + b"\r\nPING\r\n")
            return (await reader.readline()).decode().strip()
    finally:
        writer.close()


async def test_real_server_accepts_the_signature(tmp_path: Path) -> None:
    rng = random.Random(7)
    raw = rng.randbytes(32)
    key = nkeys.Nkey(raw)
    stranger = nkeys.Nkey(rng.randbytes(32))
    async with nkey_server(tmp_path, key.public) as port:
        for _ in range(20):  # each with a nonce of its own
            assert await connect(port, key.public, key) == "PONG"
        refused = await connect(port, key.public, stranger)
        assert "Authorization Violation" in refused
        assert "Authorization Violation" in await connect(port, stranger.public, stranger)
