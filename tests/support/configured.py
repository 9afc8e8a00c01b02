"""A nats-server with a configuration of a test's own, for logins and TLS."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.leash import leashed
from bus.server_probe import find_binary
from bus.testing import eventually


@asynccontextmanager
async def configured(directory: Path, text: str) -> AsyncIterator[int]:
    """The port of a server on the loopback with ``text`` in its configuration."""
    config = directory / "server.conf"
    config.write_text(f'host: 127.0.0.1\nport: -1\nports_file_dir: "{directory}"\n{text}\n')
    log = directory / "server.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *leashed([str(find_binary()), "-c", str(config)]), stdout=output, stderr=output
        )

    def port() -> int:
        assert process.returncode is None, log.read_text()
        if "Server is ready" not in log.read_text():
            return 0
        # It may be about to be written.
        text = b"".join(path.read_bytes() for path in directory.glob("*.ports"))
        announced = json.loads(text) if text else {"nats": [":0"]}
        return int(announced["nats"][0].rpartition(":")[2])

    try:
        yield await eventually(port, timeout=10)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def certificates(directory: Path) -> None:
    """``ca.pem`` and, of that CA, ``server.pem`` for 127.0.0.1 and ``client.pem``, with keys;
    ``other.pem`` is another CA's. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
    (directory / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for ca in ("ca", "other"):
        _openssl(
            directory, f"req -x509 {key} -days 2 -subj /CN={ca} -keyout {ca}-key.pem -out {ca}.pem"
        )
    for name in ("server", "client"):
        _openssl(directory, f"req {key} -subj /CN={name} -keyout {name}-key.pem -out {name}.csr")
        _openssl(
            directory,
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2"
            f" -extfile ext -out {name}.pem",
        )


def _openssl(directory: Path, arguments: str) -> None:
    subprocess.run(
        ["openssl", *arguments.split()], cwd=directory, check=True, capture_output=True, timeout=60
    )
