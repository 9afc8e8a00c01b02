"""The circle: the same agent for the same session, whoever else comes and goes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from coordinator.sessions import ALL, SPREAD, Circle, on_circle

AGENTS = [f"agent-{number}" for number in range(500)]
SESSIONS = [f"session-{number}" for number in range(400)]


def first(circle: Circle, session: str) -> str:
    return next(circle.ranking(session))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 500])
def test_a_ranking_names_everybody_once(count: int) -> None:
    circle = Circle(AGENTS[:count])
    for session in SESSIONS[:20]:
        assert sorted(circle.ranking(session)) == sorted(AGENTS[:count])


def test_nobody_is_preferred_among_none() -> None:
    assert list(Circle([]).ranking("s")) == []


def test_the_order_of_arrival_does_not_matter() -> None:
    one, other = Circle(AGENTS), Circle([])
    for agent in reversed(AGENTS):
        other.add(agent)
    for session in SESSIONS:
        assert list(one.ranking(session))[:8] == list(other.ranking(session))[:8]


def test_only_sessions_that_prefer_it_move_when_an_agent_goes_and_comes() -> None:
    circle = Circle(AGENTS)
    before = {session: list(circle.ranking(session))[:8] for session in SESSIONS}
    gone = Counter(ranking[0] for ranking in before.values()).most_common(1)[0][0]
    circle.remove(gone)
    for session, ranking in before.items():
        left = [agent for agent in ranking if agent != gone]
        assert list(circle.ranking(session))[: len(left)] == left
    circle.add(gone)
    assert {session: list(circle.ranking(session))[:8] for session in SESSIONS} == before


def test_removing_who_is_not_there_changes_nothing() -> None:
    circle = Circle(AGENTS[:3])
    circle.remove("stranger")
    assert sorted(circle.ranking("s")) == AGENTS[:3]


def test_no_agent_has_much_more_than_its_share() -> None:
    circle = Circle(AGENTS)
    sessions = 100 * len(AGENTS)
    counts = Counter(first(circle, f"s{number}") for number in range(sessions))
    assert max(counts.values()) < 2 * sessions / len(AGENTS)


def test_small_pools_rank_everybody_and_large_ones_nobody() -> None:
    assert not any(on_circle(session, ALL) for session in SESSIONS)
    assert all(on_circle(session, ALL + SPREAD + 1) for session in SESSIONS)


def test_sessions_go_over_a_few_at_a_time() -> None:
    sizes = range(ALL, ALL + SPREAD + 2)
    over = [sum(on_circle(session, size) for session in SESSIONS) for size in sizes]
    assert over == sorted(over)
    assert max(b - a for a, b in pairwise(over)) < len(SESSIONS) / 20
