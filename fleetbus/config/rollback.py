"""``fleetbus config rollback``: an earlier commit in force again."""

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from fleetbus import console
from fleetbus.config.repositories import Repo, repository_of
from fleetbus.config.sync import some, tell
from fleetbus.connection import Fleet, Json, Url, connected, run

if TYPE_CHECKING:
    from bus.config.changes import Change
    from bus.wire.config import ConfigHead

HELP = """Bring an earlier commit into force again; by default the one before the present.

The branch is not touched. A 'sync --watch' does not go back to the commit that was rolled back
from: it waits for a new commit on the branch, the fix.

Examples:

  fleetbus config rollback

  fleetbus config rollback --to 8f1d3a0 && fleetbus config drift --wait 1m
"""


def rollback(
    to: Annotated[
        str,
        typer.Option(
            metavar="REF",
            show_default=False,
            help="Commit or tag. Else the one that was in force before this one.",
        ),
    ] = "",
    repo: Repo = "",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    run(_rollback(to, repo, as_json, url, fleet))


async def _rollback(to: str, repo: str, as_json: bool, url: str | None, fleet: str | None) -> None:
    from bus.client import config
    from bus.config.past import state
    from bus.errors import ConfigError
    from fleetbus.gitops.sync import Sync

    async with connected(url, fleet) as client:
        bus = client.bus
        changes = [one async for one in config.history(bus)]
        head = state(changes).layers.head
        if head is None:
            raise ConfigError("nothing was synced from Git yet: there is nothing to go back to")
        target = to or _before(changes, head)
        with closing(await repository_of(bus, repo)) as repository:
            sync = Sync(bus, repository, head.ref)
            await asyncio.to_thread(repository.fetch, sync.fetch_timeout)
            commit = await asyncio.to_thread(repository.resolve, target)
            if commit.id == head.commit:
                raise ConfigError(f"commit {commit.id[:12]} is in force: name an earlier one")
            # Back twice: it is still the branch's own commit that nobody shall go to.
            outcome = await sync.run(commit, rolled_back_from=head.rolled_back_from or head.commit)
    if as_json:
        console.print_document(
            {
                "from": head.commit,
                "to": commit.id,
                "changed": outcome.changed,
                "took": round(outcome.took, 4),
            }
        )
        return
    tell(outcome.warnings)
    layers = some(outcome.changed) or "no layer differs"
    summary = console.clean(commit.summary)
    print(f"back from {head.commit[:12]} to {commit.id[:12]} ({summary}): {layers}")
    held = head.rolled_back_from or head.commit
    console.hint(f"a sync waits for a commit on {head.ref} after {held[:12]}")


def _before(changes: "list[Change]", head: "ConfigHead") -> str:
    """The commit that was in force before this one was for the first time: going back again and
    again goes further back."""
    from bus.errors import ConfigError
    from bus.wire.config import ConfigHead

    commits = [one.value.commit for one in changes if isinstance(one.value, ConfigHead)]
    earlier = commits[: commits.index(head.commit)]
    if not earlier:
        raise ConfigError("the bus remembers no earlier commit: name one with --to")
    return earlier[-1]
