"""What came out of a run: figures, whether they are good, and how they are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetbus.console import clean, duration, size, table
from fleetbus.demo.findings import Finding
from fleetbus.demo.ledger import Start
from fleetbus.demo.scene import Failover, Scene

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Share:
    """What one agent did."""

    agent: str
    slots: int
    state: str
    results: int
    executions: int
    share: float
    """Of all results, 0 to 1."""


@dataclass(frozen=True, slots=True)
class FailoverReport:
    """What became of the agent that was killed, and of its tasks. Seconds after the kill."""

    agent: str
    running: int
    """Tasks that it was running, by its last heartbeat."""
    queued: int
    """Tasks that it held besides, by its last heartbeat."""
    rescued: int
    """Tasks that the broker gave out again and another agent did."""
    lost_after: float | None
    """Until the fleet announced the loss."""
    restarted_after: float | None
    """Until the last rescued task was started elsewhere."""
    done_after: float | None
    """Until the last rescued task was done."""


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the demo."""

    ok: bool
    problems: tuple[str, ...]
    """What was not as promised."""
    directory: str
    files: int
    bytes: int
    tasks: int
    """Tasks that the broker accepted."""
    results: int
    """Results that came back."""
    stored_results: int
    """Results that the broker has."""
    most_results_of_a_task: int
    lost: int
    """Tasks without a result."""
    left: int
    """Tasks that are still in the queue although everything is done."""
    failed: int
    failures: dict[str, str]
    executions: int
    """Times that a handler was entered, as the agents noted beside the bus."""
    executions_per_task: float
    duplicates_refused: int
    """Second results that the broker refused, as the agents that are left count them."""
    p50_ms: float
    p99_ms: float
    tasks_per_s: float
    seconds: float
    """From the first submit to the last result."""
    failover: FailoverReport | None
    agents: tuple[Share, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was asked for after the run."""

    directory: str
    files: int
    bytes: int
    stored: tuple[int, int, int]
    """Results that the broker has, the most of them for one task, tasks left over."""
    duplicates_refused: int
    starts: Sequence[Start]
    killed_at: float
    """Unix time."""


def summarise(scene: Scene, facts: Facts, findings: Sequence[Finding]) -> Report:
    """The figures of a run. Pure."""
    stored, most, left = facts.stored
    seconds = scene.ended - scene.begun if scene.begun is not None else 0.0
    tasks = scene.submitted
    problems = _problems(scene, facts)
    executed: dict[str, int] = {}
    for start in facts.starts:
        executed[start.agent] = executed.get(start.agent, 0) + 1
    return Report(
        ok=not problems,
        problems=problems,
        directory=facts.directory,
        files=facts.files,
        bytes=facts.bytes,
        tasks=tasks,
        results=scene.done,
        stored_results=stored,
        most_results_of_a_task=most,
        lost=scene.missing,
        left=left,
        failed=len(scene.failures),
        failures=dict(list(scene.failures.items())[:20]),
        executions=len(facts.starts),
        executions_per_task=round(len(facts.starts) / tasks, 4) if tasks else 0.0,
        duplicates_refused=facts.duplicates_refused,
        p50_ms=round(percentile(scene.latencies, 50) * 1000, 2),
        p99_ms=round(percentile(scene.latencies, 99) * 1000, 2),
        tasks_per_s=round(scene.done / seconds, 1) if seconds > 0 else 0.0,
        seconds=round(seconds, 3),
        failover=_failover(scene.failover, facts) if scene.failover is not None else None,
        agents=tuple(
            Share(
                agent=row.agent,
                slots=row.slots,
                state=row.state,
                results=row.results,
                executions=executed.get(row.agent, 0),
                share=round(row.results / scene.done, 4) if scene.done else 0.0,
            )
            for row in scene.rows.values()
        ),
        findings=tuple(findings),
    )


def _problems(scene: Scene, facts: Facts) -> tuple[str, ...]:
    stored, most, left = facts.stored
    found = {
        "no task was submitted": not scene.submitted,
        f"{scene.missing} tasks have no result": scene.missing,
        f"{len(scene.failures)} tasks failed": scene.failures,
        f"{left} tasks are still in the queue": left,
        f"the broker has {stored} results of {scene.done}": stored != scene.done,
        f"the broker has {most} results of one task": most > 1,
        "no agent was killed: there was no time for it": scene.failover is None,
    }
    return tuple(text for text, true in found.items() if true)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent of all do not exceed; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _failover(failover: Failover, facts: Facts) -> FailoverReport:
    restarts: dict[str, float] = {}
    for start in facts.starts:
        if start.agent != failover.agent and start.task in failover.rescued:
            # The last one, should a task have been started several times.
            restarts[start.task] = start.at - facts.killed_at
    return FailoverReport(
        agent=failover.agent,
        running=failover.running,
        queued=failover.queued,
        rescued=len(failover.rescued),
        lost_after=_rounded(failover.lost_after),
        restarted_after=_rounded(max(restarts.values(), default=None)),
        done_after=_rounded(failover.done_after),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    agents = table("agent", "at the end", ">slots", ">results", ">share", ">executions")
    for one in report.agents:
        agents.add_row(
            one.agent,
            one.state,
            str(one.slots),
            str(one.results),
            f"{100 * one.share:.1f} %",
            str(one.executions),
        )
    figures = table("figure", ">value", "")
    for name, value, remark in _figures(report):
        figures.add_row(name, value, remark, style="bold" if name == "lost" else None)
    console.print()
    console.print(agents)
    console.print()
    console.print(figures)
    if report.findings:
        console.print("\nWhat the fleet found out:")
        for finding in report.findings:
            console.print(f"  {finding.title}: {clean(finding.text)}")
    for task, reason in list(report.failures.items())[:5]:
        console.print(f"  task {task} {clean(reason)}", style="red")
    console.print()
    verdict = (
        "Nothing was lost." if report.ok else f"Not as promised: {'; '.join(report.problems)}."
    )
    console.print(verdict, style="bold green" if report.ok else "bold red")


def _figures(report: Report) -> list[tuple[str, str, str]]:
    again = report.executions - report.tasks
    rows = [
        ("text", f"{report.files} files", f"{size(report.bytes)} in {report.directory}"),
        ("tasks", str(report.tasks), "accepted by the broker"),
        (
            "results",
            str(report.results),
            f"{report.stored_results} stored, {report.most_results_of_a_task} a task at most",
        ),
        ("lost", str(report.lost), f"{report.failed} failed, {report.left} left in the queue"),
        (
            "executions",
            str(report.executions),
            f"{report.executions_per_task:.4f} a task; {again} begun more than once",
        ),
        ("duplicates refused", str(report.duplicates_refused), "second results, by the broker"),
        ("p50", duration(report.p50_ms / 1000), "from submit to result, queueing included"),
        ("p99", duration(report.p99_ms / 1000), ""),
        ("tasks/s", f"{report.tasks_per_s:.0f}", f"{duration(report.seconds)} in all"),
    ]
    failover = report.failover
    if failover is not None:
        rows += [
            ("rescued", str(failover.rescued), f"tasks that {failover.agent} held when killed"),
            ("loss noticed", _after(failover.lost_after), "after the kill"),
            ("last one restarted", _after(failover.restarted_after), "after the kill"),
            ("last one done", _after(failover.done_after), "after the kill"),
        ]
    return rows


def _after(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
