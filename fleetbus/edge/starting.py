"""The file that a device runs first, and the one that freezes a bundle into firmware. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MARK: Final = "# Made by: fleetbus edge bundle"
"""First line of every bundle's manifest.py: what has it may be replaced."""


def main_file(
    module: str,
    agent: str,
    settings: Mapping[str, Any],
    identity: Mapping[str, str],
    micro: bool = False,
) -> str:
    """``main.py``.

    Args:
        module, agent: where the agent is.
        settings: what ``Agent.run`` is given; may be secret.
        identity: variables of the environment that a board has not: FLEETBUS_AGENT and _SITE.
        micro: refuse to run on anything but MicroPython: what it imports is made for that.
    """
    lines = [MARK]
    if micro:
        lines += [
            "import sys",
            'if sys.implementation.name != "micropython":',
            '    sys.exit("made for MicroPython: bundle with --target cpython")',
        ]
    if identity:
        lines += [
            "from edge import port",
            f"IDENTITY = {dict(identity)!r}",
            "outer = port.getenv",
            "port.getenv = lambda name: IDENTITY.get(name) or outer(name)",
        ]
    lines.append(f"from {module} import {agent} as agent")
    lines.append("SETTINGS = {")
    lines += [f"    {name!r}: {value!r}," for name, value in settings.items()]
    lines += ["}", "agent.run(**SETTINGS)"]
    return "\n".join(lines) + "\n"


def manifest_file(names: Sequence[str]) -> str:
    """``manifest.py``: of the files ``names`` those that are code. It refuses to freeze two whose
    names are the same in firmware."""
    lines = [MARK, "# Firmware with all this in it: make FROZEN_MANIFEST=<path of this file>"]
    known: dict[str, str] = {}
    for name in sorted(names):
        # What the modules of a firmware are called in C has no slashes.
        other = known.setdefault(name.rpartition(".")[0].replace("/", "_"), name)
        if other != name:
            text = f"{other} and {name} would be one module in firmware: rename the agent file"
            lines.insert(2, f"raise Exception({text!r})")
        if name.endswith(".py"):
            lines.append(f'freeze(".", "{name}")')
        elif name.endswith(".mpy"):
            lines.append(f'freeze_mpy(".", "{name}")')
    return "\n".join(lines) + "\n"
