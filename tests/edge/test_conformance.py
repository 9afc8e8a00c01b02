"""The public conformance suite against the agent for devices, on CPython."""

from __future__ import annotations

import shlex
import sys

from fleetbus.conformance.catalogue import CHECKS
from tests.support.cli import ROOT, fleetbus

AGENT = ROOT / "tests" / "conformance" / "agents" / "edge_agent.py"


async def test_edge_conforms_on_cpython() -> None:
    command = shlex.join([sys.executable, "-m", "edge", str(AGENT)])
    done = await fleetbus("conformance", "--agent-command", command, "--json", timeout=120)
    report = done.json()
    assert [one["check"] for one in report["checks"]] == [one.id for one in CHECKS]
    # The optional ones too.
    assert [one for one in report["checks"] if one["outcome"] != "pass"] == []
    assert done.status == 0
