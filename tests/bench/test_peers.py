"""The scenario ``peers``: small, with peers made up for it and with those that are installed."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.harness.errors import Missing
from bench.harness.figures import Params, at_least
from bench.harness.session import Plan, Session
from bench.peers.catalogue import CELERY, FASTSTREAM, OURS, PEERS
from bench.peers.deaths import kill_one
from bench.peers.peer import Guarantees, Peer, no, yes
from bench.peers.side import running
from bench.scenarios.peers import SCENARIO, measure
from tests.support.scenarios import figure, value

pytestmark = pytest.mark.slow

DURABLE = Guarantees(persisted=yes(), survives=yes(), stored=yes())
FICTITIOUS = Peer(
    name="fictitious",
    environment="",
    script="tests.support.bench_peer",
    server="host",
    guarantees=DURABLE,
    settings="none.",
    limits="it does nothing.",
)
FORGETFUL = dataclasses.replace(
    FICTITIOUS,
    name="forgetful",
    guarantees=Guarantees(persisted=no("why"), survives=yes(), stored=yes()),
)
FAILING = dataclasses.replace(FICTITIOUS, name="failing", late=True)
BROKEN = dataclasses.replace(FICTITIOUS, name="broken", typed=True)


async def _measured(*peers: Peer, place: Path) -> Session:
    session = Session(SCENARIO, Plan(rounds=1, quick=True))
    await measure(session, (OURS, *peers), place)
    return session


async def test_ours_is_measured_and_peers_that_are_missing_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # no redis-server there either
    session = await _measured(*PEERS, place=tmp_path)
    for outstanding in (1, 64, 512):
        params: Params = {"outstanding": outstanding}
        assert value(session, "tasks/s", params=params) > 0
        assert value(session, "CPU a task", params=params) >= 0
    assert value(session, "lost after SIGKILL") == 0
    assert value(session, "back after SIGKILL") < 30
    assert {one.side for one in session.figures} == {"ours"}
    skipped = {note.skipped: note.text for note in session.notes if note.skipped}
    assert set(skipped) == {peer.name for peer in PEERS}
    assert all("make bench-peers" in text for text in skipped.values())


async def test_the_target_is_for_the_fastest_that_is_durable(tmp_path: Path) -> None:
    session = await _measured(FICTITIOUS, FORGETFUL, place=tmp_path)
    held: Params = {"outstanding": 64}
    assert figure(session, "tasks/s", "ours / fictitious", held).target == at_least(5)
    assert figure(session, "tasks/s", "ours / forgetful", held).target is None
    assert value(session, "CPU a task", "ours / forgetful", held) >= 0
    notes = [note.text for note in session.notes]
    assert "The fastest durable peer at 64 outstanding was fictitious." in notes
    (promised,) = session.grids
    assert ("forgetful", "no (why)", "yes", "yes") in promised.rows
    assert any(note.startswith("fictitious (nats-py 2.") for note in notes)


async def test_a_peer_that_fails_costs_only_its_own_figures(tmp_path: Path) -> None:
    session = await _measured(BROKEN, FAILING, FICTITIOUS, place=tmp_path)
    skipped = {note.skipped: note.text for note in session.notes if note.skipped}
    assert set(skipped) == {"broken", "failing"}
    assert "its log ends with: there is nothing to be had here" in skipped["broken"]
    assert "it does not feel like it" in skipped["failing"]
    sides = {one.side for one in session.figures}
    assert "ours / fictitious" in sides
    assert not {side for side in sides if side.startswith("ours / failing")}
    assert figure(session, "tasks/s", "failing", {"outstanding": 1}).values


def test_the_catalogue_is_whole() -> None:
    names = [peer.name for peer in PEERS]
    assert len({*names, OURS.name}) == len(names) + 1
    for peer in PEERS:
        assert find_spec(peer.script) is not None
        assert peer.settings.endswith(".")
        assert peer.limits.endswith(".")
    assert not CELERY.guarantees.durable
    assert OURS.guarantees.durable


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
async def test_a_peer_that_is_installed_answers_every_task(peer: Peer) -> None:
    try:
        async with running(peer) as side:
            for outstanding in (1, 16):
                load, pending = await side.order(outstanding=outstanding, count=40, within=30)
                assert len(load.check().took) == 40
                assert pending == 0
            assert side.cpu() > 0
            assert side.versions
    except Missing as missing:
        pytest.skip(str(missing))


async def test_a_killed_worker_loses_nothing_where_that_is_promised() -> None:
    try:
        fate = await kill_one(FASTSTREAM, within=30)
    except Missing as missing:
        pytest.skip(str(missing))
    assert fate.lost == 0
