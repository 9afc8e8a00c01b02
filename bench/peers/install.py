"""``python -m bench.peers.install [NAME…]``: an environment for each peer, or for those named.

What is there already stays as it is. pip of this environment fills the others, so that Debian's
Python without ensurepip will do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence

from bench.peers.environment import STAMP, Environment, known

TIMEOUT = 900.0
"""Seconds that one environment may take."""


def install(environment: Environment) -> None:
    """Make it anew.

    Raises:
        subprocess.SubprocessError: pip failed; what it had to say is on standard error.
        OSError: the directory cannot be written.
    """
    shutil.rmtree(environment.directory, ignore_errors=True)
    venv.create(environment.directory, symlinks=os.name != "nt", with_pip=False)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(environment.bin / "python")),
            *("install", "--quiet", "--disable-pip-version-check", "--prefer-binary"),
            *("--requirement", str(environment.requirements)),
        ],
        check=True,
        timeout=TIMEOUT,
    )
    stamp = environment.requirements.read_text()
    (environment.directory / STAMP).write_text(stamp)


def main(names: Sequence[str]) -> int:
    """The exit code: 0, 1 if one could not be installed, 2 if one is unknown."""
    unknown = sorted({*names} - {*known()})
    if unknown:
        print(
            f"there is no peer {', '.join(unknown)}; known are {', '.join(known())}",
            file=sys.stderr,
        )
        return 2
    failed = False
    for environment in map(Environment, names or known()):
        if environment.installed():
            print(f"{environment.name} is there", flush=True)
            continue
        print(f"{environment.name} is being installed", flush=True)
        try:
            install(environment)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{environment.name} could not be installed: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
