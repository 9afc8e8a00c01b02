"""Shipped server configurations, made to run on loopback ports and in temporary directories."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.servers import NATS


@pytest.fixture
def nats_dir(tmp_path: Path) -> Path:
    """A copy of deploy/nats whose paths lead into ``tmp_path``."""
    copy = tmp_path / "nats"
    copy.mkdir()
    for source in NATS.glob("*.conf"):
        text = source.read_text()
        text = text.replace("/etc/nats/tls", f"{tmp_path}/tls")
        text = text.replace("/var/lib/nats", f"{tmp_path}/store")
        (copy / source.name).write_text(text)
    return copy


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A CA and one certificate of it for 127.0.0.1, where the configurations look for them."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
    directory = tmp_path / "tls"
    directory.mkdir()
    _openssl(
        directory,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=test-ca -keyout ca-key.pem -out ca.pem",
    )
    (directory / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    _openssl(
        directory,
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        " -subj /CN=server -keyout server-key.pem -out server.csr",
    )
    _openssl(
        directory,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2"
        " -extfile ext -out server.pem",
    )
    return directory


def _openssl(directory: Path, arguments: str) -> None:
    subprocess.run(
        ["openssl", *arguments.split()], cwd=directory, check=True, capture_output=True, timeout=60
    )
