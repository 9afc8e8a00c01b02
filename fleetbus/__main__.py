"""``python -m fleetbus``, and the script ``fleetbus``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; ends the process with a status of ``fleetbus.exits.Exit``."""
    try:
        # Inside, because Ctrl-C during the imports is a Ctrl-C like any other.
        if sys.argv[1:3] == ["agent", "run"] and "_FLEETBUS_COMPLETE" not in os.environ:
            from fleetbus.agent_process import parse, start

            told = parse(sys.argv[3:])
            if told is not None:
                start(told)
                return
        from fleetbus.app import app

        app(prog_name="fleetbus")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
