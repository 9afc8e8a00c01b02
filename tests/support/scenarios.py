"""Runs a benchmark scenario as a smoke test: small, on a real server, in this process."""

from __future__ import annotations

from bench.harness.figures import Figure, Params
from bench.harness.scenario import scenario
from bench.harness.session import Plan, Session


async def smoke(name: str) -> Session:
    """The session of a quick run."""
    chosen = scenario(name)
    session = Session(chosen, Plan(rounds=1, quick=True))
    await chosen.run(session)
    return session


def figure(
    session: Session, metric: str, side: str = "ours", params: Params | None = None
) -> Figure:
    """One that must be there."""
    found = session.figure(metric, side, params)
    have = "\n".join(one.describe() for one in session.figures)
    assert found is not None, f"no {metric}, {side}, {params}; there are\n{have}"
    return found


def value(session: Session, metric: str, side: str = "ours", params: Params | None = None) -> float:
    """The only value of a figure that must be there."""
    [found] = figure(session, metric, side, params).values
    return found
