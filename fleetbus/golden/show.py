"""How a report is shown to people. What instances answered cannot drive the terminal."""

from __future__ import annotations

from typing import Any, Final

from fleetbus import console
from fleetbus.golden.report import Finding, Instance, Report, Split

MOST: Final = 50
"""Instances without findings that are listed one by one."""

FINDINGS: Final = 20
"""Findings that are shown of each instance."""

SIDES: Final = 8
"""Groups that are shown of a case in which the instances are split."""

COLOURS: Final = {
    "failed": "red",
    "error": "red",
    "missing": "yellow",
    "divergent": "magenta",
    "unstable": "yellow",
}


def show(report: Report) -> None:
    """The report on standard output, and its last line on standard error."""
    out = console.stdout()
    shown = [one for one in report.agents if one.findings or one.rate < report.min_pass]
    clean = [one for one in report.agents if one not in shown][:MOST]
    listed = sorted([*shown, *clean], key=lambda one: one.agent)
    if listed:
        out.print(_table(listed))
    left = report.instances - len(listed)
    if left:
        console.hint(f"and {left:,} more instances, which passed or are left out; --json has more")
    for instance in shown:
        for finding in instance.findings[:FINDINGS]:
            out.print(_finding(instance, finding, report.repeat), soft_wrap=True)
        if len(instance.findings) > FINDINGS:
            more = len(instance.findings) - FINDINGS
            out.print(f"{console.clean(instance.agent)} and {more:,} more findings")
    for split in report.split_cases:
        for line in _split(split):
            out.print(line, soft_wrap=True)
    for name, versions in report.capabilities.items():
        if len(versions) > 1:
            counted = ", ".join(f"{v or '?'} on {count:,}" for v, count in versions.items())
            out.print(console.clean(f"{name} is there in versions {counted}"), soft_wrap=True)
    _end(report)


def summary(report: Report) -> str:
    """One line of counts."""
    bad = "".join(
        f", {count:,} {name}"
        for count, name in (
            (report.failed, "failed"),
            (report.error, "errors"),
            (report.missing, "missing"),
        )
        if count
    )
    bad += "".join(
        f", {_counted(count, name)}"
        for count, name in (
            (report.divergent, "divergent instance"),
            (report.unstable, "unstable instance"),
            (report.splits, "split case"),
        )
        if count
    )
    return (
        f"{report.passed:,} of {report.asked:,} answers passed{bad}: "
        f"{_counted(report.cases, 'case')} on {_counted(report.instances, 'instance')} in "
        f"{console.duration(report.took)}"
    )


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _end(report: Report) -> None:
    from rich.text import Text

    err = console.stderr()
    for why in report.why:
        err.print(Text(console.clean(why), "red"), soft_wrap=True)
    style = "green" if report.ok else "red"
    err.print(Text(console.clean(summary(report)), style), soft_wrap=True)


def _table(instances: list[Instance]) -> Any:
    table = console.table(
        "instance", ">pass", ">failed", ">errors", ">missing", "peers", "versions", "configuration"
    )
    for one in instances:
        peers = [f"{one.divergent} divergent"] if one.divergent else []
        peers += [f"{one.unstable} unstable"] if one.unstable else []
        versions = ", ".join(f"{name} {version or '?'}" for name, version in one.versions.items())
        table.add_row(
            console.clean(one.agent),
            f"{rate(one)} ({one.passed:,}/{one.asked:,})",
            f"{one.failed:,}",
            f"{one.error:,}",
            f"{one.missing:,}",
            ", ".join(peers) or "agrees",
            console.clean(versions),
            _config(one),
        )
    return table


def _config(one: Instance) -> str:
    overrides = f" +{_counted(one.overrides, 'override')}" if one.overrides else ""
    return (console.clean(one.config[:12]) or "-") + overrides


def rate(one: Instance) -> str:
    """A pass rate; never 100% where something did not pass."""
    percent = 100 * one.rate
    return f"{percent:.0f}%" if percent < 99 or percent == 100 else f"{min(percent, 99.9):.1f}%"


def _finding(instance: Instance, finding: Finding, repeat: int) -> Any:
    from rich.text import Text

    times = f" ({finding.times} of {repeat})" if finding.times != repeat > 1 else ""
    if finding.kind in ("divergent", "unstable"):
        times = ""
    return Text.assemble(
        (console.clean(instance.agent), "bold"),
        " ",
        (finding.kind, COLOURS[finding.kind]),
        f" {console.clean(finding.case)}{times}: {console.clean(finding.reason)}",
    )


def _split(split: Split) -> list[Any]:
    from rich.text import Text

    lines = [Text.assemble((console.clean(split.case), "bold"), " ", ("split", "magenta"))]
    for side in split.sides[:SIDES]:
        names = ", ".join(side.agents[:5])
        if side.count > 5:
            names += f" and {side.count - 5:,} more"
        lines.append(Text(console.clean(f"  {names}: {side.answer}")))
    if len(split.sides) > SIDES:
        lines.append(Text(f"  and {len(split.sides) - SIDES:,} more groups"))
    return lines
