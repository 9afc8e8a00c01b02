"""The picture of the fleet: room stays exact, whatever happens in whatever order."""

from __future__ import annotations

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bus.errors import InvalidSelector
from coordinator import view as view_module
from coordinator.entry import AgentEntry
from coordinator.pool import Pool
from coordinator.view import FleetView
from tests.support.view import agent, beat, card, forward

ME = "c1"


def exact(pool: Pool) -> bool:
    """The pool's own books agree with its members."""
    members = pool.members.values()
    return (
        pool.room == sum(entry.room for entry in members)
        and sorted(entry.id for entry in pool.free) == sorted(e.id for e in members if e.room > 0)
        and len(pool.free) == len(list(pool.free))
        and filed(pool)
        and all(pool in entry.pools for entry in members)
    )


def filed(pool: Pool) -> bool:
    """Whoever has room is in the tier where it belongs now, and the best tier comes first."""
    found = [{entry.tier(pool.capability) for entry in tier} for tier in pool.free.tiers()]
    return all(len(one) == 1 for one in found) and found == sorted(found, key=min)


@pytest.fixture
def view() -> FleetView:
    return FleetView(ME)


def test_new_agent_has_room_for_its_slots(view: FleetView) -> None:
    entry = agent(view, "a", slots=3)
    assert (entry.room, entry.window, view.pool("echo").room) == (3, 3, 3)
    assert view.capabilities() == {"echo"}
    assert (len(view), list(view)) == (1, [entry])


def test_pool_made_later_has_who_is_there(view: FleetView) -> None:
    entry = agent(view, "a", slots=3, labels={"env": "prod"})
    assert list(view.pool("echo", "env=prod").free) == [entry]
    assert list(view.pool("echo", "env=test").free) == []
    assert list(view.pool("other").free) == []
    with pytest.raises(InvalidSelector):
        view.pool("echo", "env==(")


def test_room_counts_what_is_on_its_way(view: FleetView) -> None:
    entry = agent(view, "a", slots=4)
    for _ in range(3):
        forward(entry)
    assert (entry.room, entry.outstanding) == (1, 3)
    # It has taken two of the three and finished one of those.
    view.beat(entry, beat(entry, running=1, accepted={ME: 2}))
    assert (entry.room, entry.outstanding) == (2, 2)


def test_others_forwards_are_in_its_report_only(view: FleetView) -> None:
    entry = agent(view, "a", slots=4)
    view.beat(entry, beat(entry, running=2, accepted={"c2": 50}))
    assert (entry.room, entry.accepted) == (2, 0)


def test_coordinator_that_was_restarted_under_its_name_starts_level(view: FleetView) -> None:
    entry = agent(view, "a", slots=4)
    view.beat(entry, beat(entry, running=1, accepted={ME: 900}))
    assert (entry.room, entry.forwarded) == (3, 900)


def test_heartbeat_out_of_order_changes_nothing(view: FleetView) -> None:
    entry = agent(view, "a", slots=4)
    view.beat(entry, beat(entry, 7, running=3))
    view.beat(entry, beat(entry, 6, running=0, state="draining"))
    view.beat(entry, beat(entry, 7, running=0))
    assert (entry.room, entry.standing, entry.seq) == (1, "ready", 7)


@pytest.mark.parametrize("state", ["draining", "stopped"])
def test_who_is_not_ready_has_no_room(view: FleetView, state: str) -> None:
    entry = agent(view, "a", slots=4)
    view.beat(entry, beat(entry, state=state))
    assert (entry.standing, entry.room, list(view.pool("echo").free)) == ("draining", 0, [])
    view.beat(entry, beat(entry))
    assert (entry.standing, entry.room, list(view.pool("echo").free)) == ("ready", 4, [entry])


def test_overfull_agent_has_no_room_and_not_less(view: FleetView) -> None:
    entry = agent(view, "a", slots=2)
    view.beat(entry, beat(entry, running=2, queued=5))
    assert (entry.room, view.pool("echo").room) == (0, 0)


def test_changed_card_moves_it_between_pools(view: FleetView) -> None:
    prod, test = view.pool("echo", "env=prod"), view.pool("echo", "env=test")
    entry = view.put(card("a", "echo", slots=2, labels={"env": "prod"}), 1)
    assert (prod.room, test.room, view.pool("echo").room) == (2, 0, 2)
    same = view.put(card("a", "echo", "sum", slots=2, labels={"env": "test"}), 2)
    assert same is entry
    assert (prod.room, test.room, view.pool("echo").room, view.pool("sum").room) == (0, 2, 2, 2)
    view.put(card("a", "sum", slots=2, labels={"env": "test"}), 3)
    assert (test.room, view.pool("echo").room, view.pool("sum").room) == (0, 0, 2)
    assert view.capabilities() == {"sum"}


def test_older_card_changes_nothing(view: FleetView) -> None:
    entry = view.put(card("a", "sum"), 5)
    assert view.put(card("a", "echo"), 4) is entry
    assert view.capabilities() == {"sum"}


def test_older_card_of_an_earlier_life_changes_nothing(view: FleetView) -> None:
    entry = view.put(card("a", "sum", incarnation="new"), 5)
    assert view.put(card("a", "echo", incarnation="old"), 4) is entry
    assert entry.incarnation == "new"


def test_restart_begins_anew(view: FleetView) -> None:
    old = agent(view, "a", slots=2)
    view.beat(old, beat(old, 40, running=2, accepted={ME: 30}))
    new = view.put(card("a", slots=2, incarnation="i2"), 9)
    assert new is not old
    assert (new.room, new.seq, new.forwarded, old.pools) == (2, 0, 0, [])
    assert view.pool("echo").members == {"a": new}
    view.beat(new, beat(new, 1, running=1))
    assert view.pool("echo").room == 1


def test_agent_that_is_gone_can_be_told_of_and_changes_no_pool(view: FleetView) -> None:
    entry = agent(view, "a", slots=2)
    view.remove(entry)
    forward(entry)
    assert (view.pool("echo").room, view.pool("echo").members, len(view)) == (0, {}, 0)


def test_what_got_lost_on_its_way_does_not_fill_it_for_ever(
    view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken connection takes forwards with it that nobody refuses."""
    entry = agent(view, "a", slots=2)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(2):
        forward(entry)
    view.beat(entry, beat(entry))
    assert entry.room == 0  # they may still be on their way
    now += view_module.IN_FLIGHT + 0.1
    view.beat(entry, beat(entry))
    assert entry.room == 2
    # They were very late, not lost.
    view.beat(entry, beat(entry, running=2, accepted={ME: 2}))
    assert (entry.room, entry.outstanding) == (0, 2)


def test_fast_ones_come_before_slow_ones_and_failing_ones_last(view: FleetView) -> None:
    entries = {name: agent(view, name, slots=2) for name in ("new", "fast", "slow", "broken")}
    times = {"fast": 20.0, "slow": 80.0, "broken": 1.0}
    for name, ms in times.items():
        failing = {"echo": 9.0} if name == "broken" else {}
        entry = entries[name]
        view.beat(entry, beat(entry, service_ms={"echo": ms, "sum": 1.0}, failing=failing))
    assert [entry.id for entry in view.pool("echo").free] == ["new", "fast", "slow", "broken"]
    for _ in range(2):
        forward(entries["new"])
        forward(entries["fast"])
    assert [entry.id for entry in view.pool("echo").free] == ["slow", "broken"]
    # What it does in one capability says nothing of another.
    view.put(card("broken", "echo", "sum", slots=2), 2)
    assert len(view.pool("sum").free) == 1
    assert entries["broken"].tier("sum") < entries["broken"].tier("echo")


def test_a_queue_is_a_worse_place_than_a_slot(view: FleetView) -> None:
    """Even so it is a better one than a slot that is far slower."""
    near, far = agent(view, "near", slots=2), agent(view, "far", slots=2)
    for entry, ms in ((near, 20.0), (far, 200.0)):
        view.beat(entry, beat(entry, window=8, service_ms={"echo": ms}))
    tiers = []
    for _ in range(5):
        tiers.append(near.tier("echo"))
        forward(near)
    assert tiers[0] == tiers[1] < tiers[2] < tiers[4] < far.tier("echo")
    assert next(iter(view.pool("echo").free)) is near


def test_sessions_stay_while_there_is_room(view: FleetView) -> None:
    entries = {name: agent(view, name) for name in "abcde"}
    pool = view.pool("echo")
    first = pool.preferred("s")
    assert first is not None
    assert pool.preferred("s") is first
    forward(first)
    second = pool.preferred("s")
    assert second not in (None, first)
    first.forwarded -= 1
    first.settle()
    assert pool.preferred("s") is first
    view.remove(first)
    assert pool.preferred("s") is second
    for entry in entries.values():
        entry.standing = "draining"
        entry.settle()
    assert pool.preferred("s") is None


def test_selectors_least_recently_used_are_forgotten(
    view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "MAX_POOLS", 3)
    entry = agent(view, "a", labels={"x": "1"})
    one = view.pool("echo", "x=1")
    two = view.pool("echo", "x in (1,2)")
    assert view.pool("echo", "x=1") is one
    view.pool("echo", "x")
    assert two not in entry.pools
    assert one in entry.pools
    assert view.pool("echo", "x=1") is one


def test_the_pool_just_asked_for_is_not_the_one_forgotten(
    view: FleetView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "MAX_POOLS", 1)
    view.in_use = lambda pool: pool.selector == first.selector
    entry = agent(view, "a", labels={"x": "2"})
    first = view.pool("echo", "x=1")
    second = view.pool("echo", "x=2")
    assert list(second.free) == [entry]
    assert view.pool("echo", "x=2") is second


class Life(RuleBasedStateMachine):
    """Agents come, change, report, take, refuse and go; after each step the books agree."""

    names = st.sampled_from(["a", "b", "c"])
    offers = st.sets(st.sampled_from(["echo", "sum"])).map(sorted)
    envs = st.sampled_from(["prod", "test"])
    selects = st.sampled_from(["", "env=prod", "env!=prod", "agent=a", "!env", "cap=sum"])

    def __init__(self) -> None:
        super().__init__()
        self.view = FleetView(ME)
        self.revision = 0
        self.pools: list[Pool] = []
        self.gone: list[AgentEntry] = []

    def entry(self, index: int) -> AgentEntry:
        found = list(self.view)
        return found[index % len(found)]

    @rule(name=names, offers=offers, env=envs, slots=st.integers(1, 4), life=st.integers(1, 3))
    def put(self, name: str, offers: list[str], env: str, slots: int, life: int) -> None:
        self.revision += 1
        made = card(name, *offers, incarnation=f"i{life}", slots=slots, labels={"env": env})
        entry = self.view.put(made, self.revision)
        assert entry.card == made
        assert self.view.agents[name] is entry

    @rule(capability=st.sampled_from(["echo", "sum", "none"]), select=selects)
    def ask(self, capability: str, select: str) -> None:
        pool = self.view.pool(capability, select)
        if pool not in self.pools:
            self.pools.append(pool)

    @precondition(lambda self: len(self.view) > 0)
    @rule(
        index=st.integers(0, 9),
        ahead=st.integers(-2, 3),
        running=st.integers(0, 5),
        taken=st.integers(0, 8),
        window=st.integers(0, 6),
        state=st.sampled_from(["ready", "ready", "draining"]),
        slots=st.integers(1, 4),
        times=st.dictionaries(st.sampled_from(["echo", "sum"]), st.sampled_from([0.1, 3.0, 900.0])),
        failing=st.dictionaries(st.just("echo"), st.sampled_from([0.2, 1.0, 40.0])),
    )
    def beat(
        self,
        index: int,
        ahead: int,
        running: int,
        taken: int,
        window: int,
        state: str,
        slots: int,
        times: dict[str, float],
        failing: dict[str, float],
    ) -> None:
        entry = self.entry(index)
        before = (entry.room, entry.seq, entry.standing)
        told = beat(
            entry,
            max(1, entry.seq + ahead),
            running=running,
            window=window,
            state=state,
            slots=slots,
            service_ms=times,
            failing=failing,
            accepted={ME: taken},
        )
        stale = told.seq <= entry.seq
        self.view.beat(entry, told)
        if stale:
            assert (entry.room, entry.seq, entry.standing) == before
        else:
            on_their_way = entry.forwarded - entry.accepted
            assert on_their_way >= 0
            ready = state == "ready"
            assert entry.room == (max(0, window - running - on_their_way) if ready else 0)

    @precondition(lambda self: len(self.view) > 0)
    @rule(index=st.integers(0, 9), change=st.sampled_from([1, 1, 1, -1]))
    def forward_or_refuse(self, index: int, change: int) -> None:
        entry = self.entry(index)
        if change > 0:
            forward(entry)
        else:
            entry.forwarded = max(0, entry.forwarded - 1)
            entry.settle()

    @precondition(lambda self: len(self.view) > 0)
    @rule(index=st.integers(0, 9))
    def suspect(self, index: int) -> None:
        entry = self.entry(index)
        entry.standing = "suspect"
        entry.settle()

    @precondition(lambda self: len(self.view) > 0)
    @rule(index=st.integers(0, 9))
    def remove(self, index: int) -> None:
        entry = self.entry(index)
        self.view.remove(entry)
        self.gone.append(entry)

    @precondition(lambda self: len(self.gone) > 0)
    @rule()
    def late_refusal_of_one_that_is_gone(self) -> None:
        self.gone[-1].forwarded -= 1
        self.gone[-1].settle()

    @invariant()
    def books_agree(self) -> None:
        for pool in self.pools:
            assert exact(pool), pool.capability
            expected = {e.id for e in self.view if pool.accepts(e.card)}
            assert set(pool.members) == expected


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
