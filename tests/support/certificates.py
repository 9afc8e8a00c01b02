"""Certificates for TLS in tests, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make(directory: Path) -> Path:
    """A CA (``ca.pem``) and one certificate of it for 127.0.0.1 (``server.pem``,
    ``server-key.pem``) in ``directory``. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
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
