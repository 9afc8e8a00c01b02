"""``fleetbus config sync`` and ``check``: a Git repository, and the bus as it says."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.config.repositories import Ref, Repo, repository_of
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit, expected
from fleetbus.task.inputs import span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus import Bus
    from fleetbus.gitops.problems import Problem
    from fleetbus.gitops.sync import Outcome, Sync

HELP = """Bring the configuration in a Git repository to the bus: all of a commit, or nothing.

The repository has global.yaml, fleets/<fleet>.yaml, groups/<nn>-<name>.yaml ('selector:' and
'values:'), instances/<agent>.yaml and schema.json; only commits count. A commit that breaks a
rule is refused with all that is wrong with it, and what is in force stays. What somebody edited
on the bus meanwhile is put back and named.

REPO may be a working tree, a bare repository or a URL (https, ssh, file).

Examples:

  fleetbus config sync --repo . --dry-run

  fleetbus config sync --repo https://git.example.com/fleet.git --watch --interval 10s

  fleetbus config sync --repo . --adopt | git apply
"""

MAX_NAMES = 10
MAX_WARNINGS = 10
"""Of what a commit brings in hundreds, people are shown so many."""

CHECK = """Check a commit without a bus: what a CI job runs before a merge.

Examples:

  fleetbus config check --repo . --ref HEAD --fleet prod
"""


def sync(
    repo: Repo = "",
    ref: Ref = "main",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C: follow the branch.")
    ] = False,
    interval: Annotated[
        str, typer.Option(metavar="DURATION", help="With --watch: look at the branch this often.")
    ] = "5s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Print what was edited on the bus as a diff for Git, only."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Accept rewritten history, a commit that was rolled back from, and the loss of "
            "layers that were set without Git.",
        ),
    ] = False,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    if watch + dry_run + adopt > 1:
        raise typer.BadParameter("--watch, --dry-run and --adopt exclude each other")
    pause = span(interval)
    mode = "watch" if watch else "dry-run" if dry_run else "adopt" if adopt else ""
    raise typer.Exit(run(_sync(repo, ref, mode, pause, force, as_json, url, fleet)))


def check(
    repo: Repo = "",
    ref: Ref = "HEAD",
    as_json: Json = False,
    fleet: Fleet = None,
) -> None:
    raise typer.Exit(run(_check(repo, ref, as_json, fleet)))


async def _sync(
    repo: str,
    ref: str,
    mode: str,
    interval: float,
    force: bool,
    as_json: bool,
    url: str | None,
    fleet: str | None,
) -> Exit:
    from fleetbus.gitops.sync import Sync

    async with connected(url, fleet) as client:
        with closing(await repository_of(client.bus, repo)) as repository:
            one = Sync(client.bus, repository, ref, force)
            match mode:
                case "dry-run":
                    return await _dry_run(one, as_json)
                case "adopt":
                    return await _adopt(client.bus, one, as_json)
                case "watch":
                    await _watch(one, interval, as_json)
                case _:
                    with console.busy(f"looking at {ref} of {repository.location}"):
                        outcome = await one.run()
                    _show(outcome, as_json)
    return Exit.OK


async def _watch(sync: "Sync", interval: float, as_json: bool) -> None:
    from fleetbus.gitops.watch import watch

    console.hint(f"following {sync.ref} of {sync.repository.location}; Ctrl-C ends")
    async for news in watch(sync, interval):
        if isinstance(news, Exception):
            if expected(news) is None:
                raise news
            if as_json:
                console.print_json({"trouble": str(news)})
            else:
                console.say(str(news), "trouble", "31")
        else:
            _show(news, as_json, line=True)


async def _dry_run(sync: "Sync", as_json: bool) -> Exit:
    commit, todo, problems, refusal = await sync.check()
    broken = refusal is not None or any(one.severity == "error" for one in problems)
    if as_json:
        console.print_document(
            {
                "commit": commit,
                "changes": {
                    name: "delete" if layer is None else "write"
                    for name, layer in todo.changes.items()
                },
                "reverts": todo.reverted,
                "problems": problems,
                "refused": "" if refusal is None else str(refusal),
            }
        )
    else:
        tell(problems)
        if refusal is not None:
            console.say(f"would be refused: {refusal}", "", "31")
        for name, layer in todo.changes.items():
            edited = ", edited on the bus" if name in todo.reverted else ""
            print(f"{'delete' if layer is None else 'write'} {name}{edited}")
        if not todo.changes:
            console.hint(f"commit {commit.id[:12]}: no layer would change")
    return Exit.REFUSED if broken else Exit.OK


async def _adopt(bus: "Bus", sync: "Sync", as_json: bool) -> Exit:
    from bus.client import config
    from fleetbus.gitops.adopt import adopted

    state = await config.current(bus)
    tip = await sync.tip()
    text = adopted(sync.repository, tip, bus.subjects.fleet, state)
    if as_json:
        console.print_document({"commit": tip, "diff": text})
        return Exit.OK
    # As it is: this is for 'git apply'.
    sys.stdout.write(text if not sys.stdout.isatty() else _lines(text))
    sys.stdout.flush()
    if not text:
        console.hint(f"the bus is as commit {tip.id[:12]} says: there is nothing to adopt")
    return Exit.OK


async def _check(repo: str, ref: str, as_json: bool, fleet: str | None) -> Exit:
    from bus.settings import load
    from fleetbus.gitops import tree as trees
    from fleetbus.gitops.repository import Repository
    from fleetbus.gitops.validation import validate
    from fleetbus.golden import cases

    name = load({"fleet": fleet}).fleet
    with closing(Repository.open(repo or ".")) as repository:
        repository.fetch(30.0)
        commit = repository.resolve(ref)
        tree = trees.load(repository, commit, name)
        # Nobody is registered here, so what validation warns of says nothing.
        wrong = [one for one in validate(tree, []) if one.severity == "error"]
        problems = [*tree.problems, *wrong, *cases.problems(tree.golden)]
    broken = any(one.severity == "error" for one in problems)
    if as_json:
        console.print_document({"commit": commit, "good": not broken, "problems": problems})
    else:
        tell(problems)
        if not broken:
            layers = ", ".join(tree.layers) or "none"
            print(f"commit {commit.id[:12]} is good for fleet {name}; layers: {layers}")
    return Exit.REFUSED if broken else Exit.OK


def some(names: "Sequence[str]") -> str:
    """The first of ``names``, and how many more there are."""
    shown = ", ".join(names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} more"


def tell(problems: "list[Problem] | tuple[Problem, ...]") -> None:
    """Each problem in a line on stderr, the errors last: they are what is looked for."""
    warnings = [one for one in problems if one.severity == "warning"]
    shown = {*map(id, warnings[:MAX_WARNINGS])}
    for one in sorted(problems, key=lambda one: one.severity == "error"):
        if one.severity == "warning" and id(one) not in shown:
            continue
        error = one.severity == "error"
        console.say(str(one), "", "31" if error else "33")
    if len(warnings) > MAX_WARNINGS:
        console.say(f"and {len(warnings) - MAX_WARNINGS} more warnings; --json has all", "", "33")


def _show(outcome: "Outcome", as_json: bool, line: bool = False) -> None:
    commit = outcome.commit
    if as_json:
        found: dict[str, Any] = {
            "commit": commit,
            "before": outcome.before,
            "wrote": outcome.wrote,
            "changed": outcome.changed,
            "reverted": outcome.reverted,
            "warnings": outcome.warnings,
            "rolled_back_from": outcome.rolled_back_from,
            "took": round(outcome.took, 4),
        }
        (console.print_json if line else console.print_document)(found)
        return
    tell(outcome.warnings)
    what = console.clean(f"commit {commit.id[:12]} ({commit.summary})")
    took = console.duration(outcome.took)
    if outcome.wrote:
        layers = some(outcome.changed) or "no layer differs"
        print(f"{what} is in force: {layers}, in {took}", flush=True)
    else:
        print(f"{what} is in force already; nothing to do", flush=True)
    if outcome.rolled_back_from:
        bad = outcome.rolled_back_from[:12]
        console.hint(f"commit {bad} was rolled back from: the next one will be taken")
    if outcome.reverted:
        names = some([f"{name} (by {by})" if by else name for name, by in outcome.reverted.items()])
        console.say(f"edited on the bus behind Git's back and put back: {names}", "drift", "33")


def _lines(text: str) -> str:
    return "".join(f"{console.clean(line)}\n" for line in text.splitlines())
