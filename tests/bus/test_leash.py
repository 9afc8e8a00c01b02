from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest

from bus.leash import leashed
from bus.testing import eventually

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux kills a child with its parent"
)


async def test_the_program_keeps_its_process_id_output_and_exit_code() -> None:
    command = leashed(["/bin/sh", "-c", 'echo "$$ $1"; exit 7', "sh", "a b"])
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode() == f"{process.pid} a b\n"
    assert process.returncode == 7


PARENT = """
import subprocess, sys, time
from bus.leash import leashed
child = subprocess.Popen(leashed(["/bin/sh", "-c", "echo ready; exec sleep 60"]), stdout=-1)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.fault
async def test_the_program_dies_with_a_killed_parent() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await eventually(lambda: is_dead(child))


def is_dead(process: psutil.Process) -> bool:
    try:
        # In a container there may be nobody who reaps orphans: they stay as zombies.
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_program_whose_parent_died_meanwhile_is_not_started() -> None:
    command = leashed(["/bin/echo", "started"])
    command[command.index(str(os.getpid()))] = "1"  # as if started by init
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "its parent process is gone" in done.stderr


def test_a_program_that_does_not_exist_fails() -> None:
    done = subprocess.run(leashed(["/no/such"]), capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
