"""Shipped server configurations, made to run on loopback ports and in temporary directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.servers import NATS
from tests.support import certificates as certificates_


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
    return certificates_.make(tmp_path / "tls")
