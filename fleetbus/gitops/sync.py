"""Makes the bus hold what a commit says: checked as a whole, then all of it or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bus.client import config, records, registry
from bus.config.past import State
from bus.connection import Bus
from bus.errors import ConfigConflict, ConfigError
from bus.subjects import HEAD
from bus.wire.config import ConfigHead, ConfigLayer
from fleetbus.gitops.errors import RepositoryError
from fleetbus.gitops.plan import Plan, plan
from fleetbus.gitops.problems import Problem
from fleetbus.gitops.repository import Commit, Repository
from fleetbus.gitops.tree import Tree, load
from fleetbus.gitops.validation import validate

TRIES: Final = 3
"""Times that a commit is brought on top of what somebody else wrote meanwhile."""

SHOWN: Final = 100
"""Layers that a head or an event names at most."""


class InvalidCommit(ConfigError):
    """A commit cannot be applied: its files break rules. Nothing was written.

    ``problems`` has them all, warnings too.
    """

    def __init__(self, commit: Commit, problems: Iterable[Problem], in_force: str) -> None:
        self.commit = commit
        self.problems = tuple(problems)
        errors = [one for one in self.problems if one.severity == "error"]
        lines = "\n".join(f"  {one}" for one in errors)
        stays = f"commit {in_force[:12]} stays" if in_force else "what is there stays"
        count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
        super().__init__(
            f"commit {commit.id[:12]} cannot be applied, {stays} in force; {count}:\n{lines}"
        )


class SyncRefused(ConfigError):
    """A sync would do what nobody may do unasked. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sync did."""

    commit: Commit
    before: str
    """The commit that was in force; empty for none."""
    changed: tuple[str, ...]
    """Layers that were written or deleted."""
    reverted: Mapping[str, str]
    """Those of them that had been edited on the bus, and by whom if that is known."""
    warnings: tuple[Problem, ...]
    rolled_back_from: str
    """The commit that was rolled back from, and that no sync goes to by itself; empty for none."""
    took: float
    """Seconds, from the look at the repository to the acknowledgement of the bus."""

    @property
    def wrote(self) -> bool:
        """False if all was as it should be."""
        return bool(self.changed) or self.commit.id != self.before


def editors(state: State) -> dict[str, str]:
    """Layers that were edited on the bus, and who did it, as far as the write says so."""
    return {
        one.layer: one.value.by if isinstance(one.value, ConfigLayer) else ""
        for one in state.edited
    }


@dataclass
class Sync:
    """Reconciles one fleet with one branch.

    Args:
        bus: an open connection.
        repository: where the configuration is.
        ref: branch, tag or commit.
        force: accept that history was rewritten, that the commit was rolled back from, that
            layers were set without Git.
        fetch_timeout: seconds that a remote has to answer.
    """

    bus: Bus
    repository: Repository
    ref: str = "main"
    force: bool = False
    fetch_timeout: float = 30.0
    by: str = field(default_factory=records.person)
    _tree: Tree | None = None

    async def tip(self) -> Commit:
        """The commit that ``ref`` is now, fetched if the repository is a remote one.

        Raises:
            RepositoryError: it cannot be reached, or there is no such ref.
        """

        def look() -> Commit:
            self.repository.fetch(self.fetch_timeout)
            return self.repository.resolve(self.ref)

        return await asyncio.to_thread(look)

    async def run(
        self, commit: Commit | None = None, rolled_back_from: str = "", remember: bool = True
    ) -> Outcome:
        """Apply ``commit``, by default the tip of ``ref``.

        Args:
            rolled_back_from: of a rollback: the commit that is rolled back from.
            remember: write down where it came from even if nothing else is to be written. Those
                who follow a branch do not: two that read it from different places would take
                turns for ever.

        Raises:
            RepositoryError, InvalidCommit, SyncRefused: nothing was written.
            ConfigConflict: somebody else writes all the time; nothing was written.
            FeatureMissing, BusError: the bus would not take it.
        """
        begun = time.monotonic()
        commit = commit or await self.tip()
        tries = TRIES
        while True:
            try:
                return await self._once(commit, rolled_back_from, remember, begun)
            except ConfigConflict:
                tries -= 1
                if not tries:
                    raise

    async def _once(
        self, commit: Commit, rolled_back_from: str, remember: bool, begun: float
    ) -> Outcome:
        state = await config.current(self.bus)
        head = state.layers.head
        before = state.layers.commit
        tree = await self._checked(commit, before)
        todo = plan(tree.layers, state)
        if head is not None and head.commit == commit.id:
            # Putting edits back is no reason to forget.
            rolled_back_from = rolled_back_from or head.rolled_back_from
        moved = head is None or (head.ref, head.source) != (self.ref, self.repository.location)
        if (
            todo.changes
            or commit.id != before
            or (remember and moved)
            or HEAD in state.ignored
            or config.strays(state)
        ):
            if not (self.force or rolled_back_from):
                await self._refuse(commit, state, todo)
            await self._write(commit, state, todo, rolled_back_from)
        return Outcome(
            commit,
            before,
            tuple(todo.changes),
            {name: by for name, by in editors(state).items() if name in todo.reverted},
            tuple(one for one in tree.problems if one.severity == "warning"),
            rolled_back_from,
            time.monotonic() - begun,
        )

    async def follow(self, tip: Commit) -> Outcome:
        """Apply ``tip``, the branch's newest commit. If it was rolled back from, or may not be
        applied, the commit in force is kept as it is: edits on the bus are put back all the same.

        Raises:
            As ``run``; what is in force has then been kept already.
        """
        head = (await config.current(self.bus)).layers.head
        if head is not None and head.rolled_back_from == tip.id and not self.force:
            now = await asyncio.to_thread(self.repository.resolve, head.commit)
            return await self.run(now, remember=False)
        try:
            return await self.run(tip, remember=False)
        except (InvalidCommit, SyncRefused):
            if head is not None and head.commit != tip.id:
                # One that this repository does not know cannot be kept: it is another's.
                with contextlib.suppress(RepositoryError):
                    now = await asyncio.to_thread(self.repository.resolve, head.commit)
                    await self.run(now, remember=False)
            raise

    async def check(
        self, commit: Commit | None = None
    ) -> tuple[Commit, Plan, list[Problem], SyncRefused | None]:
        """What ``run`` would do, everything that is wrong with the commit, and why it would be
        refused though nothing is. Writes nothing.

        Raises:
            RepositoryError: as for ``tip``.
        """
        commit = commit or await self.tip()
        state = await config.current(self.bus)
        tree = await self._read(commit)
        todo = plan(tree.layers, state)
        refusal = None
        if not self.force:
            try:
                await self._refuse(commit, state, todo)
            except SyncRefused as error:
                refusal = error
        return commit, todo, tree.problems, refusal

    # the inside

    async def _checked(self, commit: Commit, in_force: str) -> Tree:
        """The commit's tree, read and validated once however often it is asked for."""
        if self._tree is None or self._tree.commit.id != commit.id:
            tree = await self._read(commit)
            if any(one.severity == "error" for one in tree.problems):
                raise InvalidCommit(commit, tree.problems, in_force)
            self._tree = tree
        return self._tree

    async def _read(self, commit: Commit) -> Tree:
        agents = [card async for card in registry.cards(self.bus)]
        fleet = self.bus.subjects.fleet

        def read() -> Tree:
            tree = load(self.repository, commit, fleet)
            tree.problems.extend(validate(tree, agents))
            return tree

        return await asyncio.to_thread(read)

    async def _refuse(self, commit: Commit, state: State, todo: Plan) -> None:
        if todo.foreign:
            raise SyncRefused(
                f"fleet {self.bus.subjects.fleet!r} has layers that were set without Git and "
                f"would be lost: {', '.join(todo.foreign[:10])}. '--adopt' shows them as a diff "
                "for the repository; '--force' replaces them"
            )
        head = state.layers.head
        if head is None or head.commit == commit.id:
            return
        if head.rolled_back_from == commit.id:
            raise SyncRefused(
                f"commit {commit.id[:12]} was rolled back from by {head.by}, and "
                f"{head.commit[:12]} is in force: commit a fix, or apply it with '--force'"
            )
        if not await asyncio.to_thread(self.repository.is_ancestor, head.commit, commit.id):
            before, after = head.commit[:12], commit.id[:12]
            raise SyncRefused(
                f"{self.ref} was rewritten, or is another branch: commit {before}, which is in "
                f"force, is not an ancestor of {after} and stays so. Look with 'fleetbus config "
                f"diff {before} {after}', then apply it with '--force', or use 'fleetbus config "
                "rollback' if an older commit is meant"
            )

    async def _write(self, commit: Commit, state: State, todo: Plan, rolled_back_from: str) -> None:
        now = time.time_ns() // 1_000_000
        head = ConfigHead(
            commit.id,
            self.ref,
            self.repository.location,
            commit.author,
            commit.summary,
            commit.at_ms,
            now,
            self.by,
            rolled_back_from,
            tuple(todo.changes)[:SHOWN],
            todo.reverted[:SHOWN],
        )
        written = {
            name: None if layer is None else msgspec.structs.replace(layer, by=self.by)
            for name, layer in todo.changes.items()
        }
        await config.commit(self.bus, written, head, state)
        await config.tidy(self.bus, state)
        data = {
            "from": state.layers.commit,
            "to": commit.id,
            "ref": self.ref,
            "source": self.repository.location,
            "author": commit.author,
            "summary": commit.summary,
            "changed": head.changed,
            "reverted": head.reverted,
        }
        back = bool(rolled_back_from) and commit.id != state.layers.commit
        kind = "config.rolled-back" if back else "config.synced"
        await records.event(self.bus, kind, commit.id, by=self.by, data=data)
        if todo.reverted:
            by = editors(state)
            edits = {
                one.layer: {"revision": one.revision, "at": one.at, "by": by[one.layer]}
                for one in state.edited[:SHOWN]
            }
            await records.event(
                self.bus, "config.edited", self.bus.subjects.fleet, by=self.by, data=edits
            )
        verb = "config-rollback" if back else "config-sync"
        await records.audit(self.bus, verb, actor=self.by, target=commit.id, data=data)
