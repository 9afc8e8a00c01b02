"""Who passed, and who is not like the others. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from fleetbus.golden.cases import Case
from fleetbus.golden.regex import MAX_TEXT, PATIENCE, Match
from fleetbus.golden.values import Likeness, Seen, difference, short, text_of, without

Outcome = Literal["passed", "failed", "error", "missing"]

QUORUM: Final = 3
"""Answers from which a majority says who is wrong. Of two nobody can tell."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking one instance once. Either an answer, or why there is none."""

    agent: str
    case: str
    seen: Seen | None = None
    problem: str = ""
    missing: bool = False
    """Nothing came in time; else, if there is no answer, the task failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """An answer, judged by what the case expects."""

    answer: Answer
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Instances that gave the same answer."""

    agents: tuple[str, ...]
    answer: Seen


@dataclass(frozen=True, slots=True)
class Peers:
    """What a comparison of the instances with each other says about one case."""

    divergent: dict[str, str] = field(default_factory=dict)
    """By instance: how its answer differs from the majority's."""
    unstable: dict[str, str] = field(default_factory=dict)
    """By instance: how two of its own answers differ."""
    majority: tuple[str, ...] = ()
    """Those that the divergent ones differ from."""
    split: tuple[Group, ...] = ()
    """The groups, if they differ and none is a majority."""


def check(case: Case, answer: Answer, match: Match | None = None) -> Check:
    """Judge one answer. ``match`` is what searching for the case's regex brought."""
    if answer.seen is None:
        return Check(answer, "missing" if answer.missing else "error", answer.problem)
    problem = _problem(case, answer.seen, match)
    return Check(answer, "failed" if problem else "passed", problem)


def _problem(case: Case, seen: Seen, match: Match | None) -> str:
    match case.rule:
        case "":
            return ""
        case "regex":
            return _unmatched(case, seen, match)
    found = difference(without(case.expected, case.ignore), seen.value, _likeness(case))
    return found.said("expected") if found else ""


def _unmatched(case: Case, seen: Seen, match: Match | None) -> str:
    shown = short(case.expected)
    match match:
        case "found":
            return ""
        case "too slow":
            return f"the search for {shown} took more than {PATIENCE:g} s: simplify the regex"
        case "too long":
            size = len(text_of(seen.value))
            return f"{size} characters, more than the {MAX_TEXT} in which {shown} is searched"
        case _:
            return f"{short(seen.value)}, expected to match {shown}"


def _likeness(case: Case) -> Likeness:
    return Likeness(case.rule == "subset", case.abs, case.rel)


def compare(case: Case, answers: Mapping[str, Sequence[Seen]]) -> Peers:
    """Compare the instances with each other.

    An instance whose own answers differ is unstable and has no vote. Of those that are left, the
    largest group of equal answers is the majority if it is more than half, and the others are
    divergent. Where there is no majority, or only two instances, nobody can tell who is wrong:
    they are split.

    Args:
        answers: of each instance all that it gave, at least one.
    """
    if not case.peers:
        return Peers()
    like = Likeness(False, case.abs, case.rel)
    unstable: dict[str, str] = {}
    stable: dict[str, Seen] = {}
    for agent, own in sorted(answers.items()):
        first = own[0]
        other = next((one for one in own if not _alike(first, one, like)), None)
        if other is None:
            stable[agent] = first
        else:
            unstable[agent] = _versus(first, other, like, "it also answered")
    groups = _groups(stable, like)
    if len(groups) < 2:
        return Peers(unstable=unstable)
    largest = groups[0]
    if len(stable) < QUORUM or 2 * len(largest.agents) <= len(stable):
        return Peers(unstable=unstable, split=tuple(groups))
    count = len(largest.agents)
    divergent = {
        agent: _versus(largest.answer, stable[agent], like, f"{count} peers have")
        for group in groups[1:]
        for agent in group.agents
    }
    return Peers(dict(sorted(divergent.items())), unstable, largest.agents)


def _groups(stable: Mapping[str, Seen], like: Likeness) -> list[Group]:
    """Equal answers together, the largest group first."""
    equal: dict[bytes, tuple[Seen, list[str]]] = {}
    for agent, seen in stable.items():
        equal.setdefault(seen.key, (seen, []))[1].append(agent)
    if like.exact:
        groups = [Group(tuple(sorted(agents)), seen) for seen, agents in equal.values()]
    else:
        groups = _near(list(equal.values()), like)
    return sorted(groups, key=lambda group: (-len(group.agents), group.agents))


def _near(answers: list[tuple[Seen, list[str]]], like: Likeness) -> list[Group]:
    """With a tolerance a group is all that is near to one answer, that with the most neighbours.
    Being near is not transitive, so what is then left is grouped anew."""
    places = range(len(answers))
    near = {i: {j for j in places if _alike(answers[i][0], answers[j][0], like)} for i in places}
    left = set(places)
    groups = []
    while left:
        sizes = {i: sum(len(answers[j][1]) for j in near[i] & left) for i in left}
        best = max(sorted(left), key=lambda i: sizes[i])
        taken = near[best] & left
        agents = sorted(agent for i in taken for agent in answers[i][1])
        groups.append(Group(tuple(agents), answers[best][0]))
        left -= taken
    return groups


def _alike(one: Seen, other: Seen, like: Likeness) -> bool:
    if one.key == other.key:
        return True
    return not like.exact and difference(one.value, other.value, like) is None


def _versus(wanted: Seen, found: Seen, like: Likeness, wanted_by: str) -> str:
    where = difference(wanted.value, found.value, like)
    # Keys differ and the values do not: a text that JSON cannot hold.
    return where.said(wanted_by) if where else f"{short(found.value)}, {wanted_by} another text"
