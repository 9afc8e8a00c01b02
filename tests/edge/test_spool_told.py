"""What becomes of a spool is told; and nobody else may use it."""

from __future__ import annotations

import asyncio
import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bus import Bus
from bus.testing import eventually
from edge import Agent
from edge.files import Files
from edge.outbox import Outbox
from edge.runtime import Runtime
from edge.spool import RESULT, TELEMETRY, Spool, SpoolError
from tests.support.cli import ROOT
from tests.support.edge import running
from tests.support.proxy import Proxy

SUBJECT = "telemetry.default.e1.t"


class Worn(Files):
    """This machine's disk, until it will not be written any more."""

    error = 0

    def write(self, file: Any, data: bytes) -> None:
        if self.error:
            raise OSError(self.error, "worn out")
        super().write(file, data)


def kept(runtime: Runtime) -> Outbox:
    assert runtime.outbox is not None
    return runtime.outbox


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of the spool since the last question."""
    found = [one.getMessage() for one in caplog.records if one.getMessage().startswith("spool: ")]
    caplog.clear()
    return found


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
async def test_a_disk_that_will_not_and_then_will_is_told_once_each(
    nats_url: str, bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    folder = str(tmp_path / "spool")
    caplog.set_level("WARNING")
    async with (
        Proxy(nats_url) as proxy,
        running(Agent("e1"), proxy.url, bus.subjects.fleet, spool=folder) as runtime,
    ):
        outbox = kept(runtime)
        assert outbox.spool is not None
        disk = outbox.spool._files = Worn()
        proxy.hold()
        proxy.cut()
        await eventually(lambda: not runtime.client.connected)
        assert told(caplog) == []
        disk.error = error
        for _ in range(5):
            outbox.keep(runtime.root + SUBJECT, b"1")
        assert outbox.keep_result("x", "y", [], b"1") == 0
        [said] = told(caplog)
        assert said.startswith(f"spool: {folder}: ")
        assert "worn out" in said
        status = runtime.status()
        assert (status["dropped"], status["spool"]) == (5, outbox.spool.problem)
        disk.error = 0
        for _ in range(5):
            outbox.keep(runtime.root + SUBJECT, b"1")
        assert told(caplog) == []  # it may fail again with the next
        proxy.release()
        await eventually(lambda: not outbox.report()["spooled"])
        await eventually(lambda: not outbox.trouble)
        assert told(caplog) == ["spool: all is kept again"]
        assert runtime.status()["spool"] == ""


def test_reasons_that_take_turns_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Worn):
        def write(self, file: Any, data: bytes) -> None:
            self.error += 1
            if self.error % 3:
                raise OSError(errno.ENOSPC, "no space left")
            if self.error % 2:
                raise OSError(errno.ENOSPC, "No space left on device", "t0001")
            super(Worn, self).write(file, data)

    caplog.set_level("WARNING")
    outbox = Outbox(Runtime(Agent("e1"), {}), Spool(str(tmp_path / "s")))
    outbox.open()
    assert outbox.spool is not None
    outbox.spool._files = Full()
    seen = set()
    for _ in range(30):
        outbox.keep(SUBJECT, b"x" * 50)
        seen.add(outbox.trouble)
    assert len(seen) > 1  # the command status says each
    assert len(told(caplog)) == 1
    outbox.close()


def test_a_full_spool_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    outbox = Outbox(Runtime(Agent("e1"), {}), Spool(str(tmp_path / "s"), 8192))
    outbox.open()
    for _ in range(400):
        outbox.keep(SUBJECT, b"x" * 50)
    assert outbox.keep_result("s", "a", [], b"x" * 8192) == 0
    for _ in range(100):
        outbox.keep(SUBJECT, b"x" * 50)
    full = "spool: it is full: the oldest readings go, results are in memory only"
    assert told(caplog) == [full]
    assert outbox.trouble in full
    outbox.close()


def test_damage_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "s"
    spool = Spool(str(folder))
    spool.open()
    for _ in range(3):
        spool.put(TELEMETRY, b"x" * 50)
    spool.close()
    [file] = folder.glob("t*")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    caplog.set_level("WARNING")
    outbox = Outbox(Runtime(Agent("e1"), {}), Spool(str(folder)))
    outbox.open()
    outbox.keep(SUBJECT, b"1")
    assert told(caplog) == ["spool: damage was skipped, 1 times since the start"]
    outbox.close()


def test_one_folder_is_for_one(tmp_path: Path) -> None:
    folder = str(tmp_path / "s")
    first, second = Spool(folder), Spool(folder)
    first.open()
    first.open()  # it has it already
    assert first.put(RESULT, b"1")
    with pytest.raises(SpoolError, match=r"another process uses it: give each agent a folder of"):
        second.open()
    first.close()
    second.open()
    assert [body for _, _, body in second.first()] == [b"1"]
    with pytest.raises(SpoolError, match="another process uses it"):
        first.open()
    second.close()


async def test_a_process_that_is_killed_leaves_its_folder(
    nats_url: str, bus: Bus, tmp_path: Path
) -> None:
    program, folder = tmp_path / "device.py", str(tmp_path / "spool")
    program.write_text("from edge import Agent\nagent = Agent('e1')\n")
    settings = {"FLEETBUS_URL": nats_url, "FLEETBUS_FLEET": bus.subjects.fleet}
    async with running(Agent("e2"), nats_url, bus.subjects.fleet, spool=folder):
        command = [sys.executable, "-m", "edge", str(program)]
        environment = {**settings, "FLEETBUS_SPOOL": folder}
        refused = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, timeout=20
        )
        assert refused.returncode == 2
        assert b"another process uses it" in refused.stderr
    device = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    try:
        assert device.stdout is not None
        async with asyncio.timeout(20):
            assert b"ready" in await device.stdout.readline()
        with pytest.raises(SpoolError, match="another process uses it"):
            Spool(folder).open()
    finally:
        device.send_signal(signal.SIGKILL)
        await device.wait()
    again = Spool(folder)
    again.open()
    again.close()
