"""Values checked against a schema in a process of its own, for no longer than it may take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleetbus.gitops import schema_rules

SCRIPT: Final = str(Path(__file__).with_name("schema_process.py"))

PATIENCE: Final = 10.0
"""Seconds for the process to start and for its slowest values, on a machine that is busy."""
EACH: Final = 0.1
"""Seconds more for each check."""


@dataclass(frozen=True, slots=True)
class Check:
    """Values to be checked."""

    values: Mapping[str, Any]
    partial: bool
    """One layer of several."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that breaks a rule of the schema, or in the schema itself."""

    path: tuple[str | int, ...]
    rule: str
    message: str
    place: str
    """Of the rule in the schema, a JSON pointer."""
    mendable: bool
    """A further layer could mend it by adding something."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it."""

    schema: tuple[Wrong, ...]
    """If there are any, nothing else was checked."""
    checks: tuple[tuple[Wrong, ...], ...]
    """In the order of the checks; fewer if it was given up."""
    failure: str = ""
    """Why it was given up."""


def check(
    schema: Mapping[str, Any], checks: Sequence[Check], patience: float = PATIENCE
) -> Verdict:
    """Check the schema itself, then ``checks``. Blocks."""
    question = json.dumps(
        {
            "schema": {name: one for name, one in schema.items() if name != "$schema"},
            "patterns": list(schema_rules.patterns(schema)),
            "checks": [{"values": one.values, "partial": one.partial} for one in checks],
        }
    )
    limit = patience + EACH * len(checks)
    failure = ""
    try:
        # -I: our own files beside the script must not hide libraries.
        done = subprocess.run(
            [sys.executable, "-I", SCRIPT, str(int(limit) + 5)],
            input=question.encode(),
            capture_output=True,
            timeout=limit,
            check=False,
        )
        output = done.stdout
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            failure = lines[-1][:200] if lines else f"it ended with status {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        failure = f"it took more than {limit:.0f} s"
    # A last line without its end was cut off.
    answers = [
        tuple(Wrong(tuple(one[0]), *one[1:]) for one in json.loads(line))
        for line in output[: output.rfind(b"\n") + 1].splitlines()
    ]
    return Verdict(answers[0] if answers else (), tuple(answers[1:]), failure)
