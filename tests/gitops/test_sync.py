"""A commit on its way to the bus: all of it or nothing, and nothing unasked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest

from agent_runtime import Agent
from bus import Bus, Client, connect
from bus.client import config
from bus.errors import ConfigConflict
from bus.testing import eventually
from bus.wire import AuditEntry, Event
from bus.wire.config import ConfigLayer
from fleetbus.gitops.adopt import adopted
from fleetbus.gitops.errors import RepositoryError
from fleetbus.gitops.repository import Repository
from fleetbus.gitops.sync import InvalidCommit, Outcome, Sync, SyncRefused
from fleetbus.gitops.watch import watch
from tests.conftest import Join
from tests.support.proxy import Proxy
from tests.support.repositories import MadeRepository

GLOBAL = "# for all\nmodel: small  # the cheap one\nlimits:\n  tokens: 100\n"
GROUP = "selector: gpu\nvalues:\n  model: large\n"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "repo") as repository:
        repository.commit({"global.yaml": GLOBAL, "groups/10-gpu.yaml": GROUP}, "First")
        yield repository


@pytest.fixture
def sync(made: MadeRepository, bus: Bus) -> Iterator[Sync]:
    with closing(Repository.open(made.path)) as repository:
        yield Sync(bus, repository, "main", by="ada@vm")


async def values(bus: Bus, **labels: str) -> dict[str, Any]:
    state = await config.current(bus)
    return state.layers.of("a1", "s", labels, []).values


async def records(bus: Bus, subject: str, kind: type[Any]) -> list[Any]:
    from bus import codec, store

    stream = bus.subjects.audit_stream if kind is AuditEntry else bus.subjects.events_stream
    return [codec.decode(kind, one.data) async for one in store.scan(bus, stream, subject)]


async def test_a_commit_is_brought_to_the_bus_and_recorded(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    first = await sync.run()
    assert (first.before, first.changed, first.wrote) == ("", ("global", "group.10-gpu"), True)
    assert await values(bus, gpu="1") == {"model": "large", "limits": {"tokens": 100}}
    assert not (await sync.run()).wrote
    second = made.commit({"groups/10-gpu.yaml": None}, "Second")
    outcome = await sync.run()
    assert (outcome.before, outcome.changed) == (first.commit.id, ("group.10-gpu",))
    assert await values(bus, gpu="1") == {"model": "small", "limits": {"tokens": 100}}
    state = await config.current(bus)
    head = state.layers.head
    assert head is not None
    assert (head.commit, head.summary, head.by, head.source) == (
        second,
        "Second",
        "ada@vm",
        str(made.path),
    )
    layer = state.layers.stored["global"].layer
    # The commit that changed the file, not the one that was synced.
    assert (layer.commit, layer.file, layer.by) == (first.commit.id, "global.yaml", "ada@vm")
    assert layer.lines == {"model": 2, "limits": 3, "limits.tokens": 4}
    events: list[Event] = await records(bus, bus.subjects.event("config.synced", "*"), Event)
    assert [one.subject_id for one in events] == [first.commit.id, second]
    audits: list[AuditEntry] = await records(bus, bus.subjects.audits, AuditEntry)
    assert [(one.actor, one.verb, one.target) for one in audits] == [
        ("ada@vm", "config-sync", first.commit.id),
        ("ada@vm", "config-sync", second),
    ]
    assert audits[1].data["changed"] == ["group.10-gpu"]


async def test_a_broken_commit_changes_nothing_and_names_everything(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    good = (await sync.run()).commit.id
    made.commit(
        {
            "global.yaml": "model: other\n1: x\n",
            "groups/gpu.yaml": GROUP,
            "instances/a1.yaml": "a: [1",
            "fleets/x.yaml": "not ours: [",
        }
    )
    with pytest.raises(InvalidCommit) as caught:
        await sync.run()
    told = str(caught.value)
    assert f"commit {good[:12]} stays in force; 3 problems:" in told
    for part in ("global.yaml:2:1", "groups/gpu.yaml", "instances/a1.yaml:"):
        assert part in told
    assert await values(bus) == {"model": "small", "limits": {"tokens": 100}}
    made.commit({"global.yaml": GLOBAL, "groups/gpu.yaml": None, "instances/a1.yaml": None})
    assert (await sync.run()).before == good


async def test_the_schema_holds_for_registered_agents(
    made: MadeRepository, sync: Sync, bus: Bus, join: Join
) -> None:
    await join(Agent("a1", labels={"gpu": "1"}))
    schema = '{"properties": {"model": {"enum": ["small"]}}}'
    made.commit({"schema.json": schema}, "Schema")
    with pytest.raises(InvalidCommit, match=r"groups/10-gpu.yaml:3.*model"):
        await sync.run()
    assert (await config.current(bus)).revisions == {}


async def test_edits_on_the_bus_are_put_back_and_told(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    await sync.run()
    revisions = (await config.current(bus)).revisions
    await config.put(bus, "global", ConfigLayer({"model": "evil"}, by="eve"), 1)
    await bus.request(f"{bus.subjects.config_keys}layer.group.10-gpu", b"garbage")
    await config.put(bus, "instance.a1", ConfigLayer({"x": 1}), 0)
    outcome = await sync.run()
    assert outcome.reverted == {"global": "eve", "group.10-gpu": "", "instance.a1": ""}
    assert await values(bus, gpu="1") == {"model": "large", "limits": {"tokens": 100}}
    (edited,) = await records(bus, bus.subjects.event("config.edited", "*"), Event)
    assert edited.data["global"]["by"] == "eve"
    assert set(edited.data) == set(outcome.reverted)
    assert revisions["layer.global"] == 1


async def test_edits_become_a_diff_that_keeps_comments(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    await sync.run()
    state = await config.current(bus)
    assert adopted(sync.repository, await sync.tip(), bus.subjects.fleet, state) == ""
    new = {"model": "medium", "limits": {"tokens": 100, "cost": 0.5}}
    await config.put(bus, "global", ConfigLayer(new), 1)
    await config.put(bus, "instance.a1", ConfigLayer({"x": [1, "two"]}), 0)
    await config.put(bus, "group.10-gpu", None, 2)
    state = await config.current(bus)
    diff = adopted(sync.repository, await sync.tip(), bus.subjects.fleet, state)
    assert "-model: small  # the cheap one\n+model: medium # the cheap one\n" in diff
    assert "+  cost: 0.5\n" in diff
    assert "--- /dev/null\n+++ b/instances/a1.yaml\n" in diff
    assert "+++ /dev/null\n" in diff
    # Nothing was written.
    assert (await config.current(bus)).revisions == state.revisions


async def test_layers_set_without_git_are_not_lost_unasked(sync: Sync, bus: Bus) -> None:
    await config.put(bus, "global", ConfigLayer({"mine": 1}), 0)
    with pytest.raises(SyncRefused, match=r"set without Git.*global.*--adopt.*--force"):
        await sync.run()
    assert await values(bus) == {"mine": 1}
    sync.force = True
    assert (await sync.run()).wrote
    assert await values(bus) == {"model": "small", "limits": {"tokens": 100}}


async def test_rewritten_history_is_refused(made: MadeRepository, sync: Sync, bus: Bus) -> None:
    first = (await sync.run()).commit.id
    lost = made.commit({"global.yaml": "model: lost\n"}, "Lost")
    await sync.run()
    made.commit({"global.yaml": "model: forced\n"}, "Forced", parents=[first])
    with pytest.raises(SyncRefused, match=f"main was rewritten, or .*: commit {lost[:12]}"):
        await sync.run()
    assert await values(bus) == {"model": "lost"}
    sync.force = True
    await sync.run()
    assert await values(bus) == {"model": "forced"}


async def test_another_repository_is_refused(
    made: MadeRepository, sync: Sync, bus: Bus, tmp_path: Path
) -> None:
    await sync.run()
    with MadeRepository(tmp_path / "other") as other:
        other.commit({"global.yaml": "model: other\n"})
    with closing(Repository.open(tmp_path / "other")) as repository:
        stranger = Sync(bus, repository)
        with pytest.raises(SyncRefused, match="rewritten"):
            await stranger.run()


async def test_a_rollback_is_not_undone_before_there_is_a_fix(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    first = (await sync.run()).commit
    bad = made.commit({"global.yaml": "model: bad\n"}, "Bad")
    await sync.run()
    await sync.run(first, rolled_back_from=bad)
    assert (await values(bus))["model"] == "small"
    with pytest.raises(SyncRefused, match=f"commit {bad[:12]} was rolled back from by ada@vm"):
        await sync.run()
    made.commit({"global.yaml": "model: fixed\n"}, "Fix")
    await sync.run()
    assert (await values(bus))["model"] == "fixed"
    (event,) = await records(bus, bus.subjects.event("config.rolled-back", "*"), Event)
    assert (event.data["from"], event.data["to"]) == (bad, first.id)


async def test_a_watch_keeps_what_was_rolled_back_to_until_there_is_a_fix(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    first = (await sync.run()).commit
    bad = made.commit({"global.yaml": "model: bad\n"}, "Bad")
    await sync.run()
    await sync.run(first, rolled_back_from=bad)
    follower = Follower(sync, 0.5)
    try:
        news = follower.news
        await eventually(lambda: len(news) == 1)
        revision = (await config.current(bus)).revisions["layer.global"]
        await config.put(bus, "global", ConfigLayer({"model": "evil"}), revision)
        await eventually(lambda: len(news) == 2)
        assert [
            (one.commit.id, one.rolled_back_from) for one in news if isinstance(one, Outcome)
        ] == [
            (first.id, bad),
            (first.id, bad),
        ]
        assert (await values(bus))["model"] == "small"
        fix = made.commit({"global.yaml": "model: fixed\n"}, "Fix")
        await eventually(lambda: len(news) == 3)
        assert isinstance(news[2], Outcome)
        assert (news[2].commit.id, news[2].rolled_back_from) == (fix, "")
        assert (await values(bus))["model"] == "fixed"
    finally:
        await follower.stop()


async def test_two_syncs_at_once_do_not_mix(
    made: MadeRepository, sync: Sync, bus: Bus, client: Client
) -> None:
    await sync.run()
    made.commit({"global.yaml": "model: two\n", "groups/10-gpu.yaml": None})
    with closing(Repository.open(made.path)) as repository:
        other = Sync(client.bus, repository)
        done = await asyncio.gather(sync.run(), other.run(), return_exceptions=True)
    assert any(isinstance(one, Outcome) for one in done)
    assert all(isinstance(one, Outcome | ConfigConflict) for one in done), done
    assert await values(bus, gpu="1") == {"model": "two"}


class Follower:
    """What a watch has said."""

    def __init__(self, sync: Sync, interval: float) -> None:
        self.news: list[Outcome | Exception] = []
        self._task = asyncio.create_task(self._follow(sync, interval))

    async def _follow(self, sync: Sync, interval: float) -> None:
        async with aclosing(watch(sync, interval)) as news:
            async for one in news:
                self.news.append(one)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def following(sync: Sync) -> AsyncIterator[Follower]:
    follower = Follower(sync, 0.6)
    yield follower
    await follower.stop()


async def test_a_watch_follows_the_branch_through_trouble(
    made: MadeRepository, following: Follower, bus: Bus
) -> None:
    news = following.news
    await eventually(lambda: len(news) == 1)
    made.commit({"global.yaml": "model: [\n"}, "Broken")
    await eventually(lambda: len(news) == 2)
    assert isinstance(news[1], InvalidCommit)
    assert (await values(bus))["model"] == "small"
    made.commit({"global.yaml": "model: mended\n"}, "Mended")
    await eventually(lambda: len(news) == 3)
    assert (await values(bus))["model"] == "mended"
    (failed,) = await records(bus, bus.subjects.event("config.failed", "*"), Event)
    assert "global.yaml:" in failed.data["problems"][0]


async def test_a_watch_puts_edits_back_long_before_it_looks_again(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    follower = Follower(sync, 60.0)
    try:
        await eventually(lambda: len(follower.news) == 1)
        await config.put(bus, "global", ConfigLayer({"model": "evil"}), 1)
        await eventually(lambda: len(follower.news) == 2)
        assert (await values(bus))["model"] == "small"
    finally:
        await follower.stop()


async def test_a_remote_that_goes_away_is_told_once(
    made: MadeRepository, bus: Bus, tmp_path: Path
) -> None:
    url = made.path.as_uri()
    with closing(Repository.open(url, cache=tmp_path / "cache")) as repository:
        follower = Follower(Sync(bus, repository), 0.5)
        try:
            news = follower.news
            await eventually(lambda: len(news) == 1)
            away = made.path.rename(tmp_path / "away")
            await eventually(lambda: len(news) == 2)
            assert isinstance(news[1], RepositoryError)
            assert (await values(bus))["model"] == "small"
            away.rename(made.path)
            made.commit({"global.yaml": "model: back\n"})
            await eventually(lambda: len(news) >= 3)
            await eventually(lambda: isinstance(news[-1], Outcome))
            assert (await values(bus))["model"] == "back"
            assert sum(isinstance(one, Exception) for one in news) == 1
        finally:
            await follower.stop()


async def test_a_watch_keeps_what_is_in_force_while_the_tip_is_broken(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    await sync.run()
    made.commit({"global.yaml": "model: [\n"}, "Broken")
    follower = Follower(sync, 60.0)
    try:
        await eventually(lambda: len(follower.news) == 1)
        assert isinstance(follower.news[0], InvalidCommit)
        await config.put(bus, "global", ConfigLayer({"model": "evil"}), 1)

        async def put_back() -> bool:
            return bool((await values(bus))["model"] == "small")

        await eventually(put_back)
    finally:
        await follower.stop()


async def test_what_was_edited_while_a_watch_was_cut_off_is_put_back(
    made: MadeRepository, bus: Bus, nats_url: str, fleet: str
) -> None:
    async with (
        Proxy(nats_url) as proxy,
        connect(proxy.url, fleet, reconnect_max=0.1) as cut,
    ):
        with closing(Repository.open(made.path)) as repository:
            follower = Follower(Sync(cut, repository), 60.0)
            try:
                await eventually(lambda: len(follower.news) == 1)
                proxy.hold()
                proxy.cut()
                await eventually(lambda: not cut.connected)
                await config.put(bus, "global", ConfigLayer({"model": "evil"}), 1)
                proxy.release()

                async def put_back() -> bool:
                    return bool((await values(bus))["model"] == "small")

                await eventually(put_back)
            finally:
                await follower.stop()


@pytest.mark.parametrize("key", ["layer.bogus", "layer.group.99-", "head", "layer.instance.a.b"])
@pytest.mark.parametrize("value", [b"", b"garbage", b'{"values":{}}', b'{"commit":"zz"}'])
async def test_whatever_is_put_into_the_bucket_by_hand_goes_with_the_next_sync(
    made: MadeRepository, sync: Sync, bus: Bus, key: str, value: bytes
) -> None:
    good = (await sync.run()).commit.id
    await bus.request(f"{bus.subjects.config_keys}{key}", value)
    await sync.run()
    state = await config.current(bus)
    assert (state.layers.commit, state.ignored) == (good, {})
    assert not (await sync.run()).wrote
    assert await values(bus) == {"model": "small", "limits": {"tokens": 100}}


async def test_an_edit_that_was_committed_is_not_put_back(
    made: MadeRepository, sync: Sync, bus: Bus
) -> None:
    await sync.run()
    await config.put(bus, "global", ConfigLayer({"model": "medium"}), 1)
    made.commit({"global.yaml": "model: medium\n"}, "Adopt it")
    outcome = await sync.run()
    assert (outcome.changed, outcome.reverted) == (("global",), {})


async def test_the_place_that_it_comes_from_is_remembered(
    made: MadeRepository, sync: Sync, bus: Bus, tmp_path: Path
) -> None:
    await sync.run()
    url = made.path.as_uri()
    with closing(Repository.open(url, cache=tmp_path / "cache")) as repository:
        await Sync(bus, repository).run()
    head = (await config.current(bus)).layers.head
    assert head is not None
    assert head.source == url


async def test_two_watches_of_one_branch_in_two_places_leave_each_other_alone(
    made: MadeRepository, sync: Sync, bus: Bus, tmp_path: Path
) -> None:
    tip = (await sync.run()).commit
    head = (await config.current(bus)).followed.head_revision
    with closing(Repository.open(made.path.as_uri(), cache=tmp_path / "cache")) as repository:
        other = Sync(bus, repository)
        for one in (other, sync, other):
            assert not (await one.follow(await one.tip())).wrote
    state = await config.current(bus)
    assert (state.layers.commit, state.followed.head_revision) == (tip.id, head)


async def test_a_dry_run_says_what_would_be_refused(sync: Sync, bus: Bus) -> None:
    await config.put(bus, "instance.a", ConfigLayer({"mine": 1}), 0)
    _, todo, problems, refusal = await sync.check()
    assert "set without Git" in str(refusal)
    assert "instance.a" in todo.changes
    assert not [one for one in problems if one.severity == "error"]
    sync.force = True
    assert (await sync.check())[3] is None
