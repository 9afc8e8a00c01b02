"""``fleetbus config diff``: what two commits mean to each agent."""

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.config.repositories import Repo, repository_of
from fleetbus.connection import Fleet, Json, Select, Url, connected, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from fleetbus.gitops.effect import Difference, Effect
    from fleetbus.gitops.repository import Commit, Repository
    from fleetbus.gitops.tree import Tree

HELP = """Show how the effective configuration of each agent differs between two commits.

Registered agents and those that have a file of their own are compared; agents with the same
differences are shown together. 'bus' stands for the commit that is in force. Exits with 1 if
anything differs.

Examples:

  fleetbus config diff bus main

  fleetbus config diff main~3 main --agent summarizer-1

  fleetbus config diff v1.4 v1.5 --json | jq -r '.effects[].agents[]'
"""

BUS = "bus"


def diff(
    before: Annotated[str, typer.Argument(metavar="REF1", help="Branch, tag, commit, or bus.")],
    after: Annotated[str, typer.Argument(metavar="REF2", help="The same.")],
    agent: Annotated[
        str | None, typer.Option(metavar="ID", show_default=False, help="Only this agent.")
    ] = None,
    select: Select = "",
    repo: Repo = "",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    raise typer.Exit(run(_diff(before, after, agent, select, repo, as_json, url, fleet)))


async def _diff(
    before: str,
    after: str,
    agent: str | None,
    select: str,
    repo: str,
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> Exit:
    from bus.client import registry
    from bus.client.brief import Brief
    from fleetbus.gitops.effect import effects, instances, layers_of

    async with connected(url, fleet) as client:
        bus = client.bus
        with closing(await repository_of(bus, repo)) as repository:
            # One after the other: a repository is not for two at a time.
            old = await _tree(bus, repository, before)
            new = await _tree(bus, repository, after)
        known = [one async for one in registry.briefs(bus, select)]
    was, will = layers_of(old.layers), layers_of(new.layers)
    registered = {one.agent for one in known}
    if not select:
        # Whoever is not there now has its own layer and those of all.
        known += [Brief(name, "", "", {}, 1, ()) for name in instances(was, will) - registered]
    if agent is not None:
        known = [one for one in known if one.agent == agent] or [Brief(agent, "", "", {}, 1, ())]
    found = effects(was, will, known)
    if as_json:
        console.print_document({"from": old.commit, "to": new.commit, "effects": found})
    else:
        _show(old.commit, new.commit, found, len(known))
    return Exit.FAILED if found else Exit.OK


async def _tree(bus: Any, repository: "Repository", ref: str) -> "Tree":
    from bus.client import config
    from bus.errors import ConfigError
    from fleetbus.gitops.sync import InvalidCommit
    from fleetbus.gitops.tree import load

    if ref == BUS:
        head = (await config.current(bus)).layers.head
        if head is None:
            raise ConfigError("nothing was synced from Git yet: name a commit instead of 'bus'")
        ref = head.commit

    def read() -> "Tree":
        repository.fetch(30.0)
        commit: Commit = repository.resolve(ref)
        tree = load(repository, commit, bus.subjects.fleet)
        if any(one.severity == "error" for one in tree.problems):
            raise InvalidCommit(commit, tree.problems, "")
        return tree

    return await asyncio.to_thread(read)


def _show(old: "Commit", new: "Commit", found: "list[Effect]", agents: int) -> None:
    from rich.text import Text

    out = console.stdout()
    for one in found:
        names = ", ".join(one.agents[:8])
        if len(one.agents) > 8:
            names += f" and {len(one.agents) - 8} more"
        out.print(Text(console.clean(names), "bold"), soft_wrap=True)
        for difference in one.differences:
            for text, style in _lines(difference):
                out.print(Text(console.clean(text), style), soft_wrap=True)
    changed = sum(len(one.agents) for one in found)
    console.hint(f"{old.id[:12]} to {new.id[:12]}: {changed} of {agents} agents differ")


def _lines(one: "Difference") -> list[tuple[str, str]]:
    lines = []
    if not one.added:
        lines.append((f"  - {one.key} = {console.to_json(one.old)}", "red"))
    if not one.removed:
        lines.append((f"  + {one.key} = {console.to_json(one.new)}", "green"))
    return lines
