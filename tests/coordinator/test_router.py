"""The choice of an agent: tables, and how evenly it spreads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.router import DRAWS, FEW, PREFERRED, choose, expected_wait, pick, rank, tier
from coordinator.tiers import TIERS


@dataclass
class Agent:
    """A candidate whose wait is known."""

    id: str
    wait: float = 0.0
    asked: int = 0

    def expected_wait(self, capability: str) -> float:
        self.asked += 1
        return self.wait


class Fixed(Random):
    """Gives these numbers, then the last one for ever."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self.numbers = list(numbers)

    def random(self) -> float:
        return self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0]


@pytest.mark.parametrize(
    ("outstanding", "slots", "service", "expected"),
    [
        (0, 1, 10.0, 10.0),
        (3, 1, 10.0, 40.0),
        (3, 4, 10.0, 10.0),
        (0, 4, 10.0, 2.5),
        (1, 2, 0.0, 0.0),
    ],
)
def test_expected_wait(outstanding: int, slots: int, service: float, expected: float) -> None:
    assert expected_wait(outstanding, slots, service) == expected


@pytest.mark.parametrize(
    ("waits", "ruled_out", "chosen"),
    [
        ([], "", None),
        ([5.0], "", "a"),
        ([5.0], "a", None),
        ([5.0, 3.0], "", "b"),
        ([5.0, 3.0], "b", "a"),
        ([3.0, 5.0, 4.0, 2.0], "", "d"),
        ([3.0, 5.0, 4.0, 2.0], "da", "c"),
        ([3.0, 5.0, 4.0, 2.0], "abcd", None),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_of_few_the_best(waits: list[float], ruled_out: str, chosen: str | None, seed: int) -> None:
    free = [Agent(name, wait) for name, wait in zip("abcd", waits, strict=False)]
    found = choose(free, "echo", Random(seed), set(ruled_out))
    assert (found.id if found else None) == chosen


def test_equals_get_equal_shares_when_they_are_few() -> None:
    rng = Random(1)
    free = [Agent(name) for name in "abc"]
    counts = Counter(choose(free, "echo", rng).id for _ in range(3000))  # type: ignore[union-attr]  # never None: nobody is ruled out
    assert min(counts[name] for name in "abc") > 900


@given(
    count=st.integers(FEW + 1, 30),
    out=st.sets(st.integers(0, 29)),
    seed=st.integers(0, 2**32),
)
def test_of_many_never_one_that_is_ruled_out(count: int, out: set[int], seed: int) -> None:
    free = [Agent(str(i), i) for i in range(count)]
    ruled_out = {str(i) for i in out}
    found = choose(free, "echo", Random(seed), ruled_out)
    if found is None:
        assert {one.id for one in free} <= ruled_out
    else:
        assert found.id not in ruled_out


def test_the_only_one_of_many_that_may_have_it_is_found_though_never_drawn() -> None:
    free = [Agent(str(i)) for i in range(20)]
    found = choose(free, "echo", Fixed(0.0), {str(i) for i in range(19)})
    assert found is free[19]


@given(first=st.floats(0, 1, exclude_max=True), second=st.floats(0, 1, exclude_max=True))
def test_the_two_drawn_are_two(first: float, second: float) -> None:
    free = [Agent(str(i)) for i in range(FEW + 1)]
    choose(free, "echo", Fixed(first, second))
    assert sorted(one.asked for one in free) == [0] * (FEW - 1) + [1, 1]


def test_no_more_than_the_draws_are_looked_at_among_many() -> None:
    free = [Agent(str(i)) for i in range(1000)]
    choose(free, "echo", Random(3), {"5"})
    assert sum(one.asked for one in free) <= 2 * DRAWS


def placed(agents: int, tasks: int, two: bool) -> Counter[str]:
    """How many of ``tasks`` each agent got, none of which ends."""
    rng = Random(7)
    free = [Agent(str(i)) for i in range(agents)]
    counts: Counter[str] = Counter()
    for _ in range(tasks):
        chosen = choose(free, "echo", rng) if two else rng.choice(free)
        assert chosen is not None
        chosen.wait += 1
        counts[chosen.id] += 1
    return counts


def test_the_fullest_is_far_less_full_than_at_random() -> None:
    fair = 10_000 // 100
    two = max(placed(100, 10_000, two=True).values()) - fair
    one = max(placed(100, 10_000, two=False).values()) - fair
    assert two <= 4  # log2(log2(100)) and a little: it does not grow with the tasks
    assert one >= 4 * two


@pytest.mark.parametrize(
    ("outstanding", "slots", "service", "failing", "expected"),
    [
        (0, 4, None, 0.0, 0),  # nothing is known
        (3, 4, None, 0.0, 0),
        (0, 4, None, 0.3, TIERS - 1),  # but that it fails
        (0, 4, 0.001, 0.0, 1),
        (0, 4, 1 / 16, 0.0, 2),
        (0, 4, 10.0, 0.0, 9),
        (3, 4, 10.0, 0.0, 9),  # a slot is as good as another
        (0, 1, 19.0, 0.0, 10),  # twice the time is the next tier
        (0, 1, 40.0, 0.0, 11),
        (4, 4, 10.0, 0.0, 10),  # in a queue it takes 2.25 times as long
        (8, 4, 10.0, 0.0, 11),
        (0, 4, 10.0, 0.4, 9),
        (0, 4, 10.0, 1.0, 10),
        (0, 4, 10.0, 3.2, 12),
        (0, 4, 10.0, 500.0, TIERS - 1),
        (0, 4, 1e12, 0.0, TIERS - 1),
    ],
)
def test_tier(
    outstanding: int, slots: int, service: float | None, failing: float, expected: int
) -> None:
    assert tier(outstanding, slots, service, failing) == expected


def test_the_best_tier_that_is_not_ruled_out_is_picked() -> None:
    # Waits are compared within a tier only.
    tiers = [[Agent("a", 9.0), Agent("b", 8.0)], [Agent("c", 1.0)]]
    rng = Random(1)
    assert {pick(tiers, "echo", rng).id for _ in range(20)} == {"b"}  # type: ignore[union-attr]  # a failure is the test's
    assert pick(tiers, "echo", rng, {"b"}) is tiers[0][0]
    assert pick(tiers, "echo", rng, {"a", "b"}) is tiers[1][0]
    assert pick(tiers, "echo", rng, {"a", "b", "c"}) is None
    assert pick([], "echo", rng) is None


NAMES = st.sets(st.text("abcdefgh0123456789", min_size=1, max_size=8), min_size=2, max_size=20)


@given(members=NAMES, session=st.text(max_size=100), data=st.data())
def test_only_sessions_of_the_one_that_leaves_move(
    members: set[str], session: str, data: st.DataObject
) -> None:
    before = rank(session, members)
    leaver = data.draw(st.sampled_from(sorted(members)))
    after = rank(session, members - {leaver})
    stayed = [name for name in before if name != leaver]
    assert after[: len(stayed)] == stayed


@given(members=NAMES, session=st.text(max_size=100))
def test_a_ranking_does_not_depend_on_the_order_of_members(members: set[str], session: str) -> None:
    found = rank(session, sorted(members))
    assert found == rank(session, sorted(members, reverse=True))
    assert len(found) == min(PREFERRED, len(members)) == len(set(found))


def test_sessions_spread() -> None:
    members = [f"agent-{i}" for i in range(10)]
    firsts = Counter(rank(f"session-{i}", members)[0] for i in range(1000))
    assert set(firsts) == set(members)
    assert max(firsts.values()) < 160
