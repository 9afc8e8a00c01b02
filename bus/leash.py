"""Start a program that cannot outlive this one, not even when this one is killed.

Run as a script it *becomes* the program: it asks the kernel to be killed with its parent and
then executes the command in the same process. A ``preexec_fn`` would do the same between fork
and exec, where Python may deadlock as soon as there are threads.

Linux only: elsewhere the command is returned as it is. The kernel watches the *thread* that
started the program, so start it from one that lasts, such as the event loop's.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def leashed(command: Sequence[str]) -> list[str]:
    """The argument list that runs ``command`` so that it gets SIGKILL when this process dies.

    ``command[0]`` must be a path. The program keeps the process id that it is started with.
    """
    if sys.platform != "linux" or not sys.executable:
        return list(command)
    # -I -S: no site-packages and no directory of ours on the path. It starts in a few
    # milliseconds, and bus/selectors.py does not hide the standard library's selectors.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        # It died before the kernel was told to watch it.
        sys.exit(f"{command[0]} was not started: its parent process is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
