"""Searches for regular expressions in a process of its own, which can be killed.

Run as a script by ``fleetbus.golden.regex``. A line of JSON ``[pattern, text]`` on standard input
is answered with a line ``1`` or ``0``. Standard library only: it is started without the others.
"""

import json
import re
import sys
import warnings


def main() -> None:
    """Answer until standard input ends."""
    warnings.simplefilter("ignore")
    print("ready", flush=True)
    for line in sys.stdin:
        pattern, text = json.loads(line)
        print(int(re.search(pattern, text) is not None), flush=True)


if __name__ == "__main__":
    main()
