"""What a run brought, for each instance and for each capability. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from fleetbus.golden.cases import Case
from fleetbus.golden.judge import Check, Outcome, Peers
from fleetbus.golden.values import short

Kind = Literal["failed", "error", "missing", "divergent", "unstable"]

REASON: Final = 400
"""Characters of a reason."""


class Finding(msgspec.Struct, frozen=True):
    """Something is wrong with one instance in one case."""

    case: str
    kind: Kind
    reason: str
    times: int = 1
    """How many of the repeats ended like this."""


class Instance(msgspec.Struct, frozen=True):
    """One instance. All but ``divergent`` and ``unstable``, which count cases, are counts of
    answers that were asked for."""

    agent: str
    asked: int
    passed: int
    failed: int
    error: int
    missing: int
    divergent: int
    unstable: int
    versions: dict[str, str]
    """Of the capabilities that it was asked for."""
    config: str
    """Hash of its effective configuration, as its last heartbeat had it; empty if unknown."""
    overrides: int = 0
    """Values that operators had set on it, which are not in that hash."""
    findings: tuple[Finding, ...] = ()

    @property
    def rate(self) -> float:
        """Share of the answers that passed."""
        return self.passed / self.asked if self.asked else 0.0


class Side(msgspec.Struct, frozen=True):
    """Instances that gave the same answer, in a case that has no majority."""

    count: int
    agents: tuple[str, ...]
    answer: str


class Split(msgspec.Struct, frozen=True):
    """The instances differ in a case, and nobody can tell who is wrong."""

    case: str
    sides: tuple[Side, ...]


class Report(msgspec.Struct, frozen=True):
    """A run. The counts are of all instances, whether they are in ``agents`` or not."""

    fleet: str
    at_ms: int
    """Unix time in milliseconds of its end."""
    took: float
    """Seconds."""
    source: str
    """Where the cases come from."""
    commit: str
    select: str
    """Who was to be asked; empty for all."""
    cases: int
    instances: int
    repeat: int
    min_pass: float
    """Share that every instance had to pass."""
    ok: bool
    why: tuple[str, ...]
    """Why it is not, in a few lines."""
    asked: int
    passed: int
    failed: int
    error: int
    missing: int
    divergent: int
    """Instances that diverge in at least one case."""
    unstable: int
    """Instances that disagree with themselves in at least one case."""
    splits: int
    """Cases in which the instances differ without a majority."""
    unasked: int
    """Cases that no instance could be asked."""
    agents: tuple[Instance, ...]
    capabilities: dict[str, dict[str, int]]
    """By capability: how many instances have each version."""
    split_cases: tuple[Split, ...]
    unasked_cases: tuple[str, ...]


class About(msgspec.Struct, frozen=True):
    """What is known of an instance from elsewhere."""

    versions: dict[str, str]
    """Of all of its capabilities, from its card."""
    config: str = ""
    overrides: int = 0


class Frame(msgspec.Struct, frozen=True):
    """What is known of a run besides its answers; see ``Report``."""

    fleet: str
    at_ms: int
    took: float
    source: str = ""
    commit: str = ""
    repeat: int = 1
    min_pass: float = 1.0
    select: str = ""
    """Only these instances were to be asked: a case that fits none of them is no fault."""


def make(
    frame: Frame,
    cases: Sequence[Case],
    checks: Iterable[Check],
    peers: Mapping[str, Peers],
    about: Mapping[str, About],
) -> Report:
    """Put together what a run brought.

    Args:
        peers: by the name of the case.
        about: by instance.
    """
    by_agent: dict[str, list[Check]] = defaultdict(list)
    for check in checks:
        by_agent[check.answer.agent].append(check)
    capability_of = {case.name: case.capability for case in cases}
    findings = _of_peers(capability_of, peers, about)
    agents = tuple(
        _instance(agent, own, findings[agent], capability_of, about.get(agent, About({})))
        for agent, own in sorted(by_agent.items())
    )
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    for instance in agents:
        for capability, version in instance.versions.items():
            versions[capability][version] += 1
    asked_cases = {check.answer.case for own in by_agent.values() for check in own}
    unasked = tuple(case.name for case in cases if case.name not in asked_cases)
    split = tuple(
        Split(name, tuple(Side(len(g.agents), g.agents, short(g.answer.value)) for g in one.split))
        for name, one in sorted(peers.items())
        if one.split
    )
    why = _why(frame, agents, split, unasked)
    return Report(
        frame.fleet,
        frame.at_ms,
        round(frame.took, 3),
        frame.source,
        frame.commit,
        frame.select,
        len(cases),
        len(agents),
        frame.repeat,
        frame.min_pass,
        not why,
        why,
        sum(one.asked for one in agents),
        sum(one.passed for one in agents),
        sum(one.failed for one in agents),
        sum(one.error for one in agents),
        sum(one.missing for one in agents),
        sum(bool(one.divergent) for one in agents),
        sum(bool(one.unstable) for one in agents),
        len(split),
        len(unasked),
        agents,
        {name: dict(sorted(counts.items())) for name, counts in sorted(versions.items())},
        split,
        unasked,
    )


def _instance(
    agent: str,
    checks: Sequence[Check],
    more: Sequence[Finding],
    capability_of: Mapping[str, str],
    about: About,
) -> Instance:
    counts: Counter[Outcome] = Counter(check.outcome for check in checks)
    first: dict[tuple[str, Outcome], str] = {}
    times: Counter[tuple[str, Outcome]] = Counter()
    for check in checks:
        key = check.answer.case, check.outcome
        first.setdefault(key, check.reason)
        times[key] += 1
    findings = [
        Finding(case, outcome, clip(first[case, outcome], REASON), count)
        for (case, outcome), count in times.items()
        if outcome != "passed"
    ]
    asked = sorted({capability_of[check.answer.case] for check in checks})
    return Instance(
        agent,
        len(checks),
        counts["passed"],
        counts["failed"],
        counts["error"],
        counts["missing"],
        sum(one.kind == "divergent" for one in more),
        sum(one.kind == "unstable" for one in more),
        {name: about.versions.get(name, "") for name in asked},
        about.config,
        about.overrides,
        tuple(sorted([*findings, *more], key=lambda one: (one.case, one.kind))),
    )


def _of_peers(
    capability_of: Mapping[str, str], peers: Mapping[str, Peers], about: Mapping[str, About]
) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = defaultdict(list)
    for case, one in peers.items():
        capability = capability_of[case]
        usual = [_traits(about.get(agent, About({})), capability) for agent in one.majority]
        common = {
            name: Counter(traits[name] for traits in usual).most_common(1)[0][0]
            for name in (usual[0] if usual else ())
        }
        for agent, reason in one.divergent.items():
            own = _traits(about.get(agent, About({})), capability)
            differs = [
                f"{name} {own[name]}, theirs {common[name]}"
                for name in common
                if own[name] != common[name]
            ]
            note = f" ({'; '.join(differs)})" if differs else ""
            found[agent].append(Finding(case, "divergent", clip(reason, REASON) + note))
        for agent, reason in one.unstable.items():
            found[agent].append(Finding(case, "unstable", clip(reason, REASON)))
    return found


def _traits(about: About, capability: str) -> dict[str, str]:
    """What can explain that an instance is unlike the others."""
    return {
        "version": about.versions.get(capability) or "?",
        "configuration": about.config[:12] or "?",
        "overrides": str(about.overrides),
    }


def _why(
    frame: Frame, agents: Sequence[Instance], split: Sequence[Split], unasked: Sequence[str]
) -> tuple[str, ...]:
    why = []
    if not agents:
        why.append("no instance was asked: none offers a capability of these cases")
    below = [one.agent for one in agents if one.rate < frame.min_pass]
    if below:
        why.append(f"{_names(below)} passed less than {frame.min_pass:.4g} of the answers asked")
    divergent = [one.agent for one in agents if one.divergent]
    if divergent:
        why.append(f"{_names(divergent)} diverge{'s' if len(divergent) == 1 else ''} from peers")
    if split:
        why.append(f"the instances are split over {_names([one.case for one in split])}")
    if agents and unasked and not frame.select:
        why.append(f"nobody could be asked {_names(unasked)}")
    return tuple(why)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def clip(text: str, length: int) -> str:
    """``text``, cut after ``length`` characters."""
    return text if len(text) <= length else f"{text[:length]}…"
