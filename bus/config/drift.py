"""Who runs what it should, and who does not: drift of configuration and of versions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from bus.config.layers import Effective, Layers
from bus.wire.config import ConfigReport, Override

Verdict = Literal["in-sync", "overridden", "behind", "rejected", "unknown", "silent", "away"]

DRIFT: Final = ("behind", "rejected", "unknown", "silent")
"""An override is none: somebody meant it, and it ends by itself. Nor is it one to be away: the
link is at fault, and the site takes what is new when that is back."""


class Agent(Protocol):
    """What selectors ask of an agent; an agent card has it."""

    @property
    def agent(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class Moment(Protocol):
    """The configuration as it was from a time on."""

    @property
    def layers(self) -> Layers: ...
    @property
    def at(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How one agent stands."""

    agent: str
    verdict: Verdict
    wanted: str
    """Hash of the configuration that it should have."""
    hash: str = ""
    """Of the one that it has; empty if it does not say."""
    commit: str = ""
    """Of the head that it was made by; empty without Git."""
    since: float = 0.0
    """Unix time since which it should have another; 0 if that is not known."""
    reason: str = ""
    """Why it rejected what it should have, or what is not known of it."""
    overrides: tuple[Override, ...] = ()
    versions: Mapping[str, str] | None = None
    """Of its capabilities; None if it does not say."""

    @property
    def drifts(self) -> bool:
        return self.verdict in DRIFT


def judge(
    agent: Agent,
    capabilities: Sequence[str],
    report: ConfigReport | None,
    past: Sequence[Moment],
    problem: str = "",
    away: str = "",
) -> Standing:
    """How ``agent`` stands, by its own word and by what has been on the bus.

    Args:
        report: None if it did not answer, or not in a way that can be read.
        past: each state of the bus, the last one is in force now; at least one.
        problem: what it answered instead; empty if it did not answer.
        away: the site that it is at, if the link to that is down; else empty.
    """

    def made(layers: Layers) -> Effective:
        return layers.of(agent.agent, agent.site, agent.labels, capabilities)

    wanted = made(past[-1].layers).hash
    if report is None and away and not problem:
        reason = f"the link to site {away} is down"
        return Standing(agent.agent, "away", wanted, reason=reason)
    if report is None:
        verdict: Verdict = "unknown" if problem else "silent"
        return Standing(agent.agent, verdict, wanted, reason=problem)
    since = 0.0
    reason = ""
    known = True
    if report.hash != wanted:
        # The newest first: most that are behind are so by one.
        since, known = _since(report.hash, ((made(m.layers).hash, m.at) for m in reversed(past)))
    if report.rejected is not None:
        verdict, reason = "rejected", report.rejected.reason
    elif report.hash == wanted:
        verdict = "overridden" if report.overrides else "in-sync"
    elif known:
        verdict = "behind"
    else:
        verdict, reason = "unknown", "this configuration was never on the bus, or too long ago"
    return Standing(
        agent.agent,
        verdict,
        wanted,
        report.hash,
        report.commit,
        since,
        reason,
        report.overrides,
        report.versions,
    )


def _since(has: str, newest_first: Iterable[tuple[str, float]]) -> tuple[float, bool]:
    """When the hash ``has`` was last followed by another, and whether it was ever right."""
    followed = 0.0
    for wanted, at in newest_first:
        if wanted == has:
            return followed, True
        followed = at
    return 0.0, False


@dataclass(frozen=True, slots=True)
class Versions:
    """Which versions of one capability run."""

    capability: str
    agents: Mapping[str, int]
    """How many agents have each version, the most frequent first."""
    since: float = 0.0
    """Unix time since when there is more than one; 0 if there is one."""

    @property
    def parity(self) -> float:
        """Share of the agents that have the most frequent version."""
        return max(self.agents.values()) / sum(self.agents.values())

    def skewed(self, now: float, window: float) -> bool:
        """True if there has been more than one for longer than ``window`` seconds."""
        return len(self.agents) > 1 and now - self.since > window


def versions(running: Iterable[tuple[Mapping[str, str], float]]) -> list[Versions]:
    """The versions of each capability, by name.

    Args:
        running: of each agent, versions by capability and the Unix time at which it started.
    """
    counts: dict[str, Counter[str]] = {}
    first: dict[tuple[str, str], float] = {}
    for offered, started in running:
        for capability, version in offered.items():
            counts.setdefault(capability, Counter())[version] += 1
            key = (capability, version)
            first[key] = min(first.get(key, started), started)
    found = []
    for capability, count in sorted(counts.items()):
        # It has been so since the second of them appeared.
        starts = sorted(first[capability, version] for version in count)
        since = starts[1] if len(starts) > 1 else 0.0
        found.append(Versions(capability, dict(count.most_common()), since))
    return found


def parity(standings: Sequence[Standing]) -> float:
    """Share of the agents that have the configuration that they should, of those that are not
    away; 1 for no agents."""
    here = [one for one in standings if one.verdict != "away"]
    if not here:
        return 1.0
    return sum(1 for one in here if not one.drifts) / len(here)
