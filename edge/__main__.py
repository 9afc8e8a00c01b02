"""``python -m edge agent.py``: run the agent that a file declares."""

import sys

from edge import port
from edge.agent import Agent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

USAGE = """usage: python -m edge FILE.py[:NAME]

Runs the Agent that the file declares (by default the only one in it) until SIGTERM, SIGINT or
the command stop. FLEETBUS_URL, FLEETBUS_FLEET and others say where the fleet is: see
docs/edge.md, and edge/settings.py.

Ends with 0 when it was stopped, 1 when another process took the agent's id, 2 when there is
nothing that could be run or a setting cannot be used, and 130 after a second signal."""


def main(args: "list[str]") -> None:
    """Run what ``args`` names; ends the process."""
    if args in (["-h"], ["--help"]):
        print(USAGE)
        sys.exit(0)
    if len(args) != 1:
        _fail(USAGE)
    path, _, name = args[0].partition(".py:")
    if name:
        path += ".py"
    if not path.endswith(".py"):
        _fail(f"{path}: give the path of a Python file, and behind it the Agent as in FILE.py:NAME")
    found = _imported(path)
    agents = {one: value for one, value in found.items() if isinstance(value, Agent)}
    if name and name not in agents:
        _fail(f"{path}: {name} is no edge.Agent in it; {_those(agents)}")
    if not name:
        name = sorted(agents)[0] if agents else ""
        if not agents or any(one is not agents[name] for one in agents.values()):
            _fail(f"{path}: {_those(agents)}")
    try:
        agents[name].run()
    except ValueError as problem:
        _fail(port.said(problem))


def _imported(path: str) -> "dict[str, Any]":
    """What a file defines, by name."""
    folder, slash, file = path.rpartition("/")
    module = file[:-3]
    try:
        with open(path):
            pass
    except OSError as problem:
        _fail(f"{path}: it cannot be read: {problem}")
    if "." in module:
        _fail(f"{path}: a module's name has no dot in it: rename the file")
    if module in sys.modules:
        _fail(f"{path}: Python has a module {module} of its own: rename the file")
    sys.path.insert(0, folder + slash or ".")
    try:
        made = __import__(module)
    except SyntaxError as problem:
        # It may be in a module that the file imports.
        where, line = getattr(problem, "filename", None), getattr(problem, "lineno", None)
        if not where:  # MicroPython says it here only
            _fail(port.trace(problem) + path + ": it cannot be imported")
        _fail(f"{where}:{line}: {problem.msg}")
    except (ImportError, ValueError) as problem:
        _fail(f"{path}{_line(problem, file)}: {problem}")
    except Exception as problem:  # a mistake in the file: its author needs to know where
        _fail(port.trace(problem) + path + ": it cannot be imported")
    return {one: getattr(made, one) for one in dir(made)}


def _line(problem: BaseException, file: str) -> str:
    """Where in ``file`` it was, as far as this platform knows."""
    found = ""
    step = getattr(problem, "__traceback__", None)
    while step is not None:
        if step.tb_frame.f_code.co_filename.endswith(file):
            found = f":{step.tb_lineno}"
        step = step.tb_next
    return found


def _those(agents: "dict[str, Agent]") -> str:
    if not agents:
        return "there is no edge.Agent in it: write agent = Agent(...) at its top level"
    return "name one of its agents: " + ", ".join(["FILE.py:" + one for one in sorted(agents)])


def _fail(text: str) -> "NoReturn":
    print(text, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
