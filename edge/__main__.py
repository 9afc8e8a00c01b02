"""``python -m edge agent.py``: run the agent that a file declares."""

import sys

from edge.agent import Agent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

USAGE = """usage: python -m edge FILE.py[:NAME]

Runs the Agent that the file declares (by default the only one in it) until SIGTERM, SIGINT or
the command stop. FLEETBUS_URL, FLEETBUS_FLEET and others say where the fleet is: see
edge/settings.py."""


def main(args: "list[str]") -> None:
    """Run what ``args`` names; ends the process, with 2 for what cannot be run."""
    asked = bool(args) and args[0] in ("-h", "--help")
    if len(args) != 1 or asked:
        print(USAGE)
        sys.exit(0 if asked else 2)
    path, _, name = args[0].partition(":")
    folder, slash, file = path.rpartition("/")
    if not file.endswith(".py"):
        _fail(f"{path}: give the path of a Python file")
    sys.path.insert(0, folder + slash or ".")
    try:
        module = __import__(file[:-3])
    except (ImportError, ValueError) as problem:
        _fail(f"{path}: {problem}")
    found = {one: getattr(module, one) for one in dir(module)}
    agents = {one: value for one, value in found.items() if isinstance(value, Agent)}
    if name:
        agents = {one: value for one, value in agents.items() if one == name}
    if len(agents) != 1:
        there = ", ".join(sorted(agents)) or "none"
        _fail(f"{path}: name one Agent, as in {path}:agent; there: {there}")
    try:
        for agent in agents.values():
            agent.run()
    except ValueError as problem:
        _fail(str(problem))


def _fail(text: str) -> "NoReturn":
    print(text)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
