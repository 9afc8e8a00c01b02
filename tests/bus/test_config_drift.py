"""Who drifts, since when, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from bus.config import Layers, Stored, drift
from bus.config.drift import Standing, judge, parity, versions
from bus.config.merge import digest
from bus.wire import Card
from bus.wire.config import ConfigHead, ConfigLayer, ConfigReport, Override, Rejection

CARD = Card("a1", "i", "berlin", {"gpu": "1"})


@dataclass
class Moment:
    layers: Layers
    at: float


def moment(at: float, commit: str = "", **layers: dict[str, Any]) -> Moment:
    """The bus from ``at`` on; the layer ``gpu`` is a group of GPU agents."""
    names = {"gpu": "group.10-gpu", "own": "instance.a1", "other": "instance.a2"}
    stored = [
        Stored(names.get(name, name), ConfigLayer(values, "gpu" if name == "gpu" else ""), 1)
        for name, values in layers.items()
    ]
    return Moment(Layers(stored, ConfigHead(commit) if commit else None), at)


PAST = [
    moment(10.0, "one", **{"global": {"x": 1}}),
    moment(20.0, "two", **{"global": {"x": 2}}),
    moment(30.0, "three", **{"global": {"x": 2}}, other={"x": 9}),
    moment(40.0, "four", **{"global": {"x": 2}}, gpu={"y": 1}),
]
NOW = digest({"x": 2, "y": 1})
OVERRIDE = Override("x", 5, "ada", 1, 2)


def report(values: dict[str, Any], **more: Any) -> ConfigReport:
    return ConfigReport(digest(values), **more)


@pytest.mark.parametrize(
    ("said", "verdict", "since"),
    [
        (report({"x": 2, "y": 1}), "in-sync", 0.0),
        (report({"x": 2, "y": 1}, overrides=(OVERRIDE,)), "overridden", 0.0),
        # What made it wrong came at 40: the writes between did not concern it.
        (report({"x": 2}), "behind", 40.0),
        (report({"x": 2}, overrides=(OVERRIDE,)), "behind", 40.0),
        (report({"x": 1}), "behind", 20.0),
        (report({"x": 3}), "unknown", 0.0),
        (report({"x": 2}, rejected=Rejection(NOW, "no such model")), "rejected", 40.0),
        (None, "silent", 0.0),
    ],
)
def test_verdicts(said: ConfigReport | None, verdict: str, since: float) -> None:
    found = judge(CARD, [], said, PAST)
    assert (found.verdict, found.since, found.wanted) == (verdict, since, NOW)
    assert found.drifts == (verdict not in ("in-sync", "overridden"))


def test_an_agent_that_cannot_say_is_unknown() -> None:
    found = judge(CARD, [], None, PAST, "unknown verb 'config'")
    assert (found.verdict, found.reason) == ("unknown", "unknown verb 'config'")


def test_what_was_right_again_and_again_is_behind_since_the_last_time() -> None:
    back = [
        *PAST,
        moment(50.0, "back", **{"global": {"x": 2}}),
        Moment(PAST[-1].layers, 60.0),
    ]
    assert judge(CARD, [], report({"x": 2}), back).since == 60.0


def test_versions_are_counted_and_skewed_since_the_second_appeared() -> None:
    running = [
        ({"echo": "1.0.0", "sum": "2.0.0"}, 100.0),
        ({"echo": "1.0.0"}, 130.0),
        ({"echo": "1.1.0"}, 120.0),
        ({"echo": "1.1.0"}, 110.0),
        ({"echo": "1.1.0"}, 140.0),
    ]
    echo, total = versions(running)
    assert (echo.capability, dict(echo.agents), echo.since) == (
        "echo",
        {"1.1.0": 3, "1.0.0": 2},
        110.0,
    )
    assert echo.parity == pytest.approx(0.6)
    assert echo.skewed(now=200.0, window=60.0)
    assert not echo.skewed(now=160.0, window=60.0)
    assert (total.parity, total.skewed(1e9, 0.0)) == (1.0, False)


def test_parity_counts_overrides_as_right() -> None:
    verdicts: list[drift.Verdict] = ["in-sync", "overridden", "behind", "silent"]
    assert parity([Standing(v, v, "") for v in verdicts]) == 0.5
    assert parity([]) == 1.0


def test_an_agent_whose_site_is_away_does_not_drift() -> None:
    away = judge(CARD, ["echo"], None, PAST, away="berlin")
    assert (away.verdict, away.drifts) == ("away", False)
    assert away.reason == "the link to site berlin is down"
    # What came before the link went down counts.
    assert judge(CARD, ["echo"], report({"x": 2, "y": 1}), PAST, away="berlin").verdict == "in-sync"
    silent = judge(CARD, ["echo"], None, PAST)
    good = judge(CARD, ["echo"], report({"x": 2, "y": 1}), PAST)
    assert (parity([away]), parity([away, good]), parity([away, good, silent])) == (1.0, 1.0, 0.5)
