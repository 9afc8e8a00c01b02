"""The scenario ``config``, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gitops.repository import GROUPS, SPECIAL, Commits, files
from bench.gitops.spreading import PATIENCE
from bench.harness.figures import Params
from bench.scenarios import config
from bench.simulated import crew
from bus.config import Layers, Stored
from fleetbus.gitops.repository import Repository
from fleetbus.gitops.tree import load
from fleetbus.gitops.validation import validate
from tests.support.scenarios import figure, smoke, value

SIDES = ("ours", "whole command")


@pytest.mark.slow
async def test_a_commit_reaches_everybody_and_drift_is_told() -> None:
    session = await smoke("config")
    params: Params = {"agents": config.QUICK}
    for metric in ("dropped messages", "never reported"):
        assert value(session, metric, params=params) == 0, metric
    half, most, last = (
        value(session, metric, params=params)
        for metric in ("reported by half", config.SAID, "reported by the last")
    )
    assert 0 < half <= most <= last < PATIENCE
    written = value(session, "written to the bus", params=params)
    assert 0 < written < last
    assert value(session, "fetches of the layers, each agent", params=params) == 1
    for fleet in (config.IN_SYNC, config.SPOILED):
        case: Params = {**params, "fleet": fleet}
        assert value(session, "wrong verdicts", params=case) == 0
        asked, whole = (value(session, "drift report", side, case) for side in SIDES)
        assert 0 < asked < whole
        # The target is for the size that the issue names.
        assert figure(session, "drift report", params=case).target is None
    merging: Params = {"layers": config.LAYERS, "keys": 200}
    assert 0 < value(session, "merge and hash, processor time", params=merging) < 100


def test_each_commit_is_valid_has_200_keys_and_changes_something_for_everybody(
    tmp_path: Path,
) -> None:
    cards = [crew.card(number) for number in range(config.QUICK)]
    seen: set[tuple[str, str]] = set()
    with Commits(tmp_path / "repo") as commits, Repository.open(commits.folder) as repository:
        for version in range(3):
            tree = load(repository, repository.resolve(commits.commit()), "bench")
            assert [*tree.problems, *validate(tree, cards)] == []
            layers = Layers(Stored(name, layer, 1) for name, layer in tree.layers.items())
            assert len(layers.stored) == len(files(version)) - 1 == 3 + len(GROUPS)
            for card in cards:
                names = [one.name for one in card.capabilities]
                made = layers.of(card.agent, card.site, card.labels, names)
                assert sum(len(section) for section in made.values.values()) == 200
                assert (card.agent, made.hash) not in seen
                seen.add((card.agent, made.hash))
                own = card.agent == crew.name(SPECIAL)
                assert any(one.name.startswith("instance.") for one in made.layers) == own
