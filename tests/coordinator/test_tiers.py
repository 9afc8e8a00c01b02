"""Members in tiers: whatever is filed, moved and dropped, each is found once and in order."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from coordinator.tiers import TIERS, Tiers


@dataclass(frozen=True)
class Member:
    id: str


def test_the_best_come_first() -> None:
    tiers: Tiers[Member] = Tiers()
    a, b, c = Member("a"), Member("b"), Member("c")
    for member, tier in ((a, 9), (b, TIERS - 1), (c, 0)):
        tiers.file(member, tier)
    assert list(tiers.tiers()) == [[c], [a], [b]]
    tiers.file(b, 9)
    tiers.file(b, 9)
    assert list(tiers.tiers()) == [[c], [a, b]]
    tiers.drop(a)
    tiers.drop(a)
    assert (list(tiers), len(tiers)) == ([c, b], 2)


STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(-1, TIERS - 1)))


@given(steps=STEPS)
def test_it_agrees_with_a_plain_dict(steps: list[tuple[int, int]]) -> None:
    members = [Member(str(number)) for number in range(10)]
    tiers: Tiers[Member] = Tiers()
    plain: dict[str, int] = {}
    for number, tier in steps:
        member = members[number]
        if tier < 0:
            tiers.drop(member)
            plain.pop(member.id, None)
        else:
            tiers.file(member, tier)
            plain[member.id] = tier
    found = [sorted(member.id for member in tier) for tier in tiers.tiers()]
    expected = [
        sorted(name for name, at in plain.items() if at == tier)
        for tier in sorted(set(plain.values()))
    ]
    assert found == expected
    assert len(tiers) == len(plain)
