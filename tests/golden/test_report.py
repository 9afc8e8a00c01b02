"""What a run brought, put together; and made to fit into a message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fleetbus.golden.bounds import bounded
from fleetbus.golden.cases import Case
from fleetbus.golden.judge import Answer, Check, compare
from fleetbus.golden.report import About, Finding, Frame, Instance, Report, make
from fleetbus.golden.show import rate, summary
from fleetbus.golden.values import seen

CASES = [Case("greets", "greet"), Case("adds", "add"), Case("sings", "sing")]


def passed(agent: str, case: str, value: Any) -> Check:
    return Check(Answer(agent, case, seen(value)), "passed")


def report(checks: list[Check], about: dict[str, About] | None = None, **frame: Any) -> Report:
    cases = [case for case in CASES if any(c.answer.case == case.name for c in checks)]
    answers: dict[str, dict[str, list[Any]]] = {}
    for one in checks:
        if one.answer.seen is not None:
            of_case = answers.setdefault(one.answer.case, {})
            of_case.setdefault(one.answer.agent, []).append(one.answer.seen)
    peers = {case.name: compare(case, answers.get(case.name, {})) for case in cases}
    given = Frame("f", 1000, 2.0, "golden", **{"repeat": 1, **frame})
    return make(given, frame.get("cases", cases), checks, peers, about or {})


def test_all_is_well() -> None:
    about = {name: About({"greet": "1.0.0", "other": "9"}, "abc") for name in ("w1", "w2")}
    found = report([passed("w1", "greets", "hi"), passed("w2", "greets", "hi")], about)
    assert found.ok
    assert found.why == ()
    assert (found.instances, found.asked, found.passed) == (2, 2, 2)
    assert found.capabilities == {"greet": {"1.0.0": 2}}
    assert found.agents[0] == Instance("w1", 1, 1, 0, 0, 0, 0, 0, {"greet": "1.0.0"}, "abc")
    assert summary(found) == "2 of 2 answers passed: 1 case on 2 instances in 2 s"


def test_a_divergence_is_explained_by_version_and_configuration() -> None:
    about = {name: About({"greet": "1.0.0"}, "abc") for name in ("w1", "w2")}
    about["w3"] = About({"greet": "1.1.0"}, "def", 2)
    checks = [passed(name, "greets", "hi") for name in ("w1", "w2")]
    checks.append(passed("w3", "greets", "ho"))
    found = report(checks, about)
    assert not found.ok
    assert found.why == ("w3 diverges from peers",)
    assert found.divergent == 1
    assert found.agents[2].findings == (
        Finding(
            "greets",
            "divergent",
            '"ho", 2 peers have "hi" (version 1.1.0, theirs 1.0.0; configuration def, theirs abc; '
            "overrides 2, theirs 0)",
        ),
    )
    assert found.capabilities == {"greet": {"1.0.0": 2, "1.1.0": 1}}


def test_outcomes_are_counted_by_repeat() -> None:
    checks = [
        passed("w1", "greets", "hi"),
        Check(Answer("w1", "greets", seen("hi")), "failed", "why"),
        Check(Answer("w1", "greets", seen("hi")), "failed", "why not"),
        Check(Answer("w1", "adds", problem="boom"), "error", "boom"),
        Check(Answer("w1", "adds", problem="late", missing=True), "missing", "late"),
    ]
    [one] = report(checks, repeat=3).agents
    assert (one.asked, one.passed, one.failed, one.error, one.missing) == (5, 1, 2, 1, 1)
    assert one.rate == pytest.approx(0.2)
    assert [(f.case, f.kind, f.reason, f.times) for f in one.findings] == [
        ("adds", "error", "boom", 1),
        ("adds", "missing", "late", 1),
        ("greets", "failed", "why", 2),
    ]


@pytest.mark.parametrize(
    ("min_pass", "ok"), [(1.0, False), (0.76, False), (0.75, True), (0.0, True)]
)
def test_every_instance_must_pass_enough(min_pass: float, ok: bool) -> None:
    checks = [passed("w1", "greets", "hi") for _ in range(3)]
    checks.append(Check(Answer("w1", "greets", seen("hi")), "failed", "why"))
    found = report(checks, min_pass=min_pass)
    assert found.ok is ok
    assert bool(found.why) is not ok


def test_a_split_and_nobody_asked_are_faults() -> None:
    found = report([passed("w1", "greets", "hi"), passed("w2", "greets", "ho")])
    assert not found.ok
    assert found.why == ("the instances are split over greets",)
    assert [(s.count, s.agents, s.answer) for s in found.split_cases[0].sides] == [
        (1, ("w1",), '"hi"'),
        (1, ("w2",), '"ho"'),
    ]
    nobody = report([])
    assert not nobody.ok
    assert "no instance was asked" in nobody.why[0]


@pytest.mark.parametrize(("select", "ok"), [("", False), ("site=oslo", True)])
def test_a_case_that_fits_nobody_is_named(select: str, ok: bool) -> None:
    frame = Frame("f", 1, 1.0, select=select)
    found = make(frame, CASES[:2], [passed("w1", "greets", 1)], {}, {})
    assert (found.unasked, found.unasked_cases) == (1, ("adds",))
    assert found.ok is ok
    assert found.why == (() if ok else ("nobody could be asked adds",))


def test_unstable_is_no_failure() -> None:
    found = report([passed("w1", "greets", "hi"), passed("w1", "greets", "ho")], repeat=2)
    assert found.ok
    assert found.unstable == 1
    assert found.agents[0].findings[0].kind == "unstable"


def big(instances: int, findings: int) -> Report:
    why = "x" * 700
    made = tuple(
        Instance(
            f"agent-{i:05}",
            findings or 1,
            0,
            findings,
            0,
            0,
            0,
            0,
            {f"capability-{k}": "1.0.0" for k in range(5)},
            "c" * 64,
            0,
            tuple(Finding(f"case-{k}", "failed", why) for k in range(findings)) if i % 2 else (),
        )
        for i in range(instances)
    )
    base = report([passed("w1", "greets", "hi")])
    return msgspec.structs.replace(
        base, instances=instances, failed=instances * findings, agents=made, why=("y" * 9999,)
    )


@pytest.mark.parametrize(
    ("instances", "findings", "limit"),
    [(3, 2, 256 * 1024), (10_000, 30, 256 * 1024), (500, 500, 64 * 1024), (10_000, 3, 4096)],
)
def test_a_report_fits_into_a_message(instances: int, findings: int, limit: int) -> None:
    whole = big(instances, findings)
    data = bounded(whole, limit)
    assert len(data) <= limit
    kept = msgspec.json.decode(data, type=Report)
    assert (kept.instances, kept.failed) == (instances, instances * findings)
    if instances == 3:
        assert kept.agents == whole.agents
    elif limit > 4096:
        assert kept.agents
        assert all(one.findings for one in kept.agents)
        assert kept.agents[0].failed == findings


@pytest.mark.parametrize(
    ("passed_", "asked", "shown"),
    [(3, 3, "100%"), (0, 3, "0%"), (1, 3, "33%"), (999, 1000, "99.9%"), (99999, 100000, "99.9%")],
)
def test_a_rate_is_never_rounded_up_to_all(passed_: int, asked: int, shown: str) -> None:
    assert rate(Instance("w", asked, passed_, 0, 0, 0, 0, 0, {}, "")) == shown
