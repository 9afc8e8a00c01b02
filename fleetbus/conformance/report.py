"""What people see of a run: a line a check, and a summary."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from fleetbus import console
from fleetbus.conformance.catalogue import CHECKS
from fleetbus.conformance.check import Check
from fleetbus.conformance.outcome import Outcome, Report

STYLES: Final = {"pass": "green", "fail": "red", "skip": "yellow"}
WIDTH: Final = max(len(check.id) for check in CHECKS)


def show_outcome(one: Outcome) -> None:
    """One line, and for a failure what was expected and what came."""
    out = console.stdout()
    style = STYLES[one.outcome]
    if one.outcome == "fail" and one.level == "optional":
        style = "yellow"
    text = console.clean(one.got) if one.outcome == "skip" else one.rule
    line = Text.assemble((one.outcome, style), f"  {one.check:{WIDTH}}  ")
    if one.level == "optional":
        line.append("(optional) ", "dim")
    line.append(text)
    out.print(line, soft_wrap=True)
    if one.outcome == "fail":
        for name, value in (
            ("see", f"docs/subjects.md, {one.see}" if ".md" not in one.see else f"docs/{one.see}"),
            ("expected", one.expected),
            ("got", one.got),
        ):
            shown = "\n".join(console.clean(part) for part in value.splitlines())
            out.print(
                Text(f"      {name:9} {shown}", "dim" if name == "see" else ""), soft_wrap=True
            )


def show_summary(report: Report) -> None:
    """One line at the end."""
    parts = [f"{report.passed} passed", f"{report.failed} failed"]
    if report.failed_optional:
        parts.append(f"{report.failed_optional} optional failed")
    if report.skipped:
        parts.append(f"{report.skipped} skipped")
    word = "conforms" if report.ok else "does not conform"
    style = "green" if report.ok else "red"
    line = Text.assemble(f"{', '.join(parts)} in {report.seconds:.1f} s: the agent ", (word, style))
    console.stdout().print(line, soft_wrap=True)


def show_list(checks: list[Check]) -> None:
    """The checks, without running them."""
    table = console.table("check", "level", "rule", "see")
    for one in checks:
        table.add_row(one.id, one.level, one.rule, one.see)
    console.stdout().print(table)
