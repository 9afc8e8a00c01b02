"""What a scenario records becomes figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from bench.harness.errors import BenchError
from bench.harness.figures import at_least
from bench.harness.latency import Latencies
from bench.harness.runner import run
from bench.harness.scenario import NAMES, Scenario, scenario
from bench.harness.session import Plan, Session, estimate


async def nothing(_: Session) -> None:
    """A scenario that measures nothing."""


def made(
    name: str = "dispatch", do: Callable[[Session], Awaitable[None]] = nothing, seconds: float = 60
) -> Scenario:
    return Scenario(name, "For a test.", do, seconds, quick_seconds=2)


def session(rounds: int = 3) -> Session:
    return Session(made(), Plan(rounds))


def test_every_case_once_a_round_and_begun_by_another_one() -> None:
    assert list(session(4).interleaved("abc")) == list("abcacbcabcba")
    assert list(session().interleaved([])) == []


def test_values_of_rounds_are_one_figure() -> None:
    one = session()
    for value in (3.0, 1.0, 2.0):
        one.record("tasks/s", value, "tasks/s", better="higher", params={"outstanding": 8})
    one.record("tasks/s", 9.0, "tasks/s", side="floor", params={"outstanding": 8})
    ours, floor = one.figures
    assert (ours.values, ours.median) == ((3.0, 1.0, 2.0), 2.0)
    assert floor.values == (9.0,)


def test_a_ratio_is_taken_round_by_round() -> None:
    one = session()
    for ours, floor in ((10.0, 20.0), (30.0, 30.0), (4.0, 16.0)):
        one.record("tasks/s", ours, "tasks/s", better="higher")
        one.record("tasks/s", floor, "tasks/s", side="floor")
    one.ratio("tasks/s", "ours", "floor", target=at_least(0.6))
    ratio = one.figures[-1]
    assert (ratio.side, ratio.unit, ratio.better) == ("ours / floor", "×", "higher")
    assert ratio.values == (0.5, 1.0, 0.25)
    assert ratio.met is False


def test_a_ratio_to_what_was_not_measured_is_left_out() -> None:
    one = session()
    one.record("tasks/s", 1.0, "tasks/s")
    one.ratio("tasks/s", "ours", "floor")
    assert len(one.figures) == 1


def test_a_ratio_of_different_rounds_is_refused() -> None:
    one = session()
    one.record("tasks/s", 1.0, "tasks/s")
    one.record("tasks/s", 1.0, "tasks/s", side="floor")
    one.record("tasks/s", 1.0, "tasks/s", side="floor")
    with pytest.raises(BenchError, match="ours and floor"):
        one.ratio("tasks/s", "ours", "floor")


def test_percentiles_that_few_exceed_are_left_out() -> None:
    one = session()
    one.latency(Latencies.of([0.001] * 1000))
    one.latency(Latencies.of([0.003] * 1000))
    assert [figure.metric for figure in one.figures] == ["p50", "p99"]
    assert one.figures[0].values == pytest.approx((1.0, 3.0), rel=0.01)
    (kept,) = one.latencies
    assert Latencies.decode(kept.histogram).count == 2000
    assert not kept.open_loop


def test_plans() -> None:
    plan = Plan(scale=2.0)
    assert (plan.count(100, 7), plan.seconds(1.5, 0.1)) == (200, 3.0)
    quick = Plan(1, quick=True, scale=2.0)
    assert (quick.count(100, 7), quick.seconds(1.5, 0.1)) == (7, 0.1)
    assert Plan(scale=0.0001).count(100, 7) == 1
    assert estimate(made(seconds=60), Plan(3)) == 60
    assert estimate(made(seconds=60), Plan(1, quick=True)) == 2


class Told:
    """Remembers what a run said of itself."""

    def __init__(self) -> None:
        self.scenarios: list[tuple[str, int, int]] = []
        self.left: list[float] = []

    def scenario(self, name: str, number: int, total: int) -> None:
        self.scenarios.append((name, number, total))

    def step(self, text: str, left: float) -> None:
        assert text
        self.left.append(left)


async def test_a_run_goes_on_after_a_failure_and_yields_what_it_has() -> None:
    async def measures(one: Session) -> None:
        one.record("tasks/s", 5.0, "tasks/s")
        one.skip("celery", "pip install celery")

    async def fails(one: Session) -> None:
        one.record("tasks/s", 6.0, "tasks/s")
        raise ExceptionGroup("several", [ValueError("first\nline"), ValueError("second")])

    told = Told()
    scenarios = [made("dispatch", measures), made("call", fails), made("pubsub", measures)]
    runs = [one async for one in run(scenarios, Plan(), told)]
    assert [one.scenarios for one in runs] == [
        ("dispatch",), ("dispatch", "call"), ("dispatch", "call", "pubsub")
    ]  # fmt: skip
    assert [figure.scenario for figure in runs[-1].figures] == ["dispatch", "pubsub"]
    (failure,) = runs[-1].failures
    assert (failure.scenario, failure.problem) == ("call", "ValueError: first line")
    assert "in fails" in failure.trace
    assert {note.skipped for note in runs[0].notes} == {"celery"}
    assert told.scenarios == [("dispatch", 1, 3), ("call", 2, 3), ("pubsub", 3, 3)]
    assert told.left[0] == pytest.approx(180, abs=1)
    names = [fact.name for fact in runs[-1].facts]
    assert {"fleetbus", "nats-server", "Python", "processor", "load before the run"} <= {*names}


def test_every_scenario_is_there_and_explains_itself() -> None:
    for name in NAMES:
        found = scenario(name)
        assert found.name == name
        assert found.summary.endswith(".")
        assert found.seconds > 0
        assert found.quick_seconds > 0
    with pytest.raises(BenchError, match=r"no scenario 'dispach'; known are dispatch, "):
        scenario("dispach")


def test_a_full_quick_run_takes_little_more_than_a_minute() -> None:
    every = [scenario(name) for name in NAMES]
    assert sum(one.quick_seconds for one in every if one.by_default) <= 90


def test_pictures_have_names_of_their_own() -> None:
    names = [plot.name for name in NAMES for plot in scenario(name).plots]
    assert len(names) == len(set(names))
