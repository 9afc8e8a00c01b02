"""A history read back: what it has led to, and what it was on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.config.changes import Change
from bus.config.layers import Layers
from bus.config.past import Past, state
from bus.wire.config import ConfigHead, ConfigLayer


def at(revision: int) -> str:
    return f"2026-11-21T15:{revision // 60:02}:{revision % 60:02}Z"


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Writes of all kinds, in the order in which they were stored."""
    kinds = st.sampled_from(["alone", "batch", "delete", "garbage", "head", "headless"])
    names = st.sampled_from(["global", "fleet", "instance.a"])
    changes: list[Change] = []
    for revision, kind in enumerate(draw(st.lists(kinds, max_size=12)), 1):
        key, value, problem = f"layer.{draw(names)}", ConfigLayer({"x": revision}), ""
        match kind:
            case "alone" | "batch":
                changes.append(Change(key, revision, at(revision), kind == "batch", value))
            case "delete":
                changes.append(Change(key, revision, at(revision), draw(st.booleans()), None))
            case "garbage":
                problem = "not JSON"
                changes.append(Change(key, revision, at(revision), False, None, problem))
            case "head":
                one = ConfigHead(f"c{revision}")
                changes.append(Change("head", revision, at(revision), True, one))
            case _:
                changes.append(Change("head", revision, at(revision), False, None))
    return changes


def told(layers: Layers) -> tuple[dict[str, object], str]:
    return {name: one.layer.values for name, one in layers.stored.items()}, layers.commit


@given(histories())
def test_each_moment_is_what_the_history_until_then_led_to(changes: list[Change]) -> None:
    moments = iter(Past(changes).moments)
    first = next(moments)
    assert (told(first.layers), first.at) == (({}, ""), 0.0)
    before = told(state([]).layers)
    for count in range(1, len(changes) + 1):
        now = told(state(changes[:count]).layers)
        if now != before:
            moment = next(moments)
            while told(moment.layers) != now:  # a write that left all as it was
                assert told(moment.layers) == before
                moment = next(moments)
            assert moment.at == changes[count - 1].at_s
        before = now
    assert all(told(rest.layers) == before for rest in moments)


@given(histories())
def test_what_does_not_count_is_named(changes: list[Change]) -> None:
    found = state(changes)
    last = {one.key: one for one in changes}
    assert {key: one.revision for key, one in last.items()} == found.revisions
    for key, one in last.items():
        if one.problem:
            assert found.ignored[key] == "not JSON"
    for edit in found.edited:
        assert edit.revision > found.followed.head_revision > 0
        assert not edit.batched
