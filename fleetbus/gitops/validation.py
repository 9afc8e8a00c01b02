"""A commit's configuration held to its schema, and to the agents that are there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bus.config import layers, paths
from bus.config.layers import Effective, Layers, Stored
from bus.wire.card import Card
from fleetbus.gitops import schema_rules
from fleetbus.gitops.checking import PATIENCE, Check, Wrong, check
from fleetbus.gitops.effect import layers_of
from fleetbus.gitops.layout import SCHEMA
from fleetbus.gitops.problems import Problem, Severity
from fleetbus.gitops.tree import Tree

SHOWN: Final = 200
"""Problems that the schema brings at most; one more says how many there are."""

NOBODY: Final = "default"
"""Site of an agent that we know nothing of."""


@dataclass(slots=True)
class _Whole:
    """A configuration, and for whom."""

    made: Effective
    agents: list[str] = field(default_factory=list)
    known: bool = True
    """False if nobody has registered for it: then the groups that apply are not known."""


def validate(tree: Tree, agents: Collection[Card], patience: float = PATIENCE) -> list[Problem]:
    """What is wrong with ``tree`` beyond ``tree.problems``. Blocks while a process of its own
    checks the schema, for ``patience`` and 0.1 seconds for each layer and configuration at most.

    Each layer is checked by itself, with nothing required of it; then each different
    configuration of a registered agent, and of each agent that has a file. What only a group
    that we do not know of could mend is a warning.
    """
    held = layers_of(tree.layers)
    wholes = _wholes(held, agents)
    found = list(_strangers(tree, agents, wholes))
    if tree.schema is not None:
        broken = [_schema_problem(tree, *one) for one in schema_rules.problems(tree.schema)]
        found.extend(broken or _by_schema(tree, tree.schema, wholes, patience))
    return found


def _wholes(held: Layers, agents: Collection[Card]) -> list[_Whole]:
    by_layers: dict[int, _Whole] = {}

    def add(made: Effective, agent: str, known: bool) -> None:
        whole = by_layers.setdefault(id(made), _Whole(made, known=known))
        whole.agents.append(agent)
        whole.known = whole.known or known

    for card in agents:
        offered = [one.name for one in card.capabilities]
        add(held.of(card.agent, card.site, card.labels, offered), card.agent, True)
    registered = {card.agent for card in agents}
    for name in held.stored:
        agent = name.removeprefix(layers.INSTANCE)
        if name.startswith(layers.INSTANCE) and agent not in registered:
            add(held.of(agent, NOBODY, {}, ()), agent, False)
    if not agents:
        add(held.of("", NOBODY, {}, ()), "", False)
    return list(by_layers.values())


def _strangers(tree: Tree, agents: Collection[Card], wholes: Iterable[_Whole]) -> Iterator[Problem]:
    """Layers that are for nobody who is there."""
    names = [name for name in tree.layers if name.startswith((layers.GROUP, layers.INSTANCE))]
    if not agents:
        if names:
            yield Problem(
                "warning",
                ".",
                f"no agent is registered, so {len(names)} group and instance files are for nobody "
                "as yet",
            )
        return
    used = {one.name for whole in wholes if whole.known for one in whole.made.layers}
    for name in names:
        if name in used:
            continue
        layer = tree.layers[name]
        if name.startswith(layers.GROUP):
            yield Problem(
                "warning",
                layer.file,
                f"no registered agent matches {layer.selector[:200]}: check the labels",
            )
        else:
            agent = name.removeprefix(layers.INSTANCE)
            yield Problem(
                "warning",
                layer.file,
                f"no agent is registered as {agent!r}: check the name, or start it",
            )


def _by_schema(
    tree: Tree, schema: dict[str, Any], wholes: Sequence[_Whole], patience: float
) -> Iterator[Problem]:
    checks = [Check(layer.values, True) for layer in tree.layers.values()]
    # Of what cannot be read the wholes would be said to lack the values.
    if any(one.severity == "error" for one in tree.problems):
        wholes = ()
    checks += [Check(whole.made.values, False) for whole in wholes]
    verdict = check(schema, checks, patience)
    if verdict.schema:
        # One a place: the vocabularies of the metaschema often say the same.
        places = {one.path: one for one in reversed(verdict.schema)}
        yield from (_schema_problem(tree, one.path, one.message) for one in places.values())
        return
    found: dict[tuple[Any, ...], Problem] = {}
    count = len(tree.layers)
    for (name, layer), wrongs in zip(tree.layers.items(), verdict.checks, strict=False):
        for wrong in wrongs:
            if not wrong.place:
                found[(wrong.message,)] = _schema_problem(tree, (), wrong.message)
                continue
            held = [Stored(name, layer, 0)]
            file, line, path = _place(held, wrong.path)
            message = f"{wrong.message} ({_rule(wrong)})"
            found[file, line, path, wrong.rule, wrong.message] = Problem(
                "error", file, message, line, path=path
            )
    for whole, wrongs in zip(wholes, verdict.checks[count:], strict=False):
        for wrong in wrongs:
            if not wrong.place:
                found[(wrong.message,)] = _schema_problem(tree, (), wrong.message)
                continue
            file, line, path = _place(whole.made.layers, wrong.path)
            key = file, line, path, wrong.rule, wrong.message
            if key not in found:
                found[key] = _of_whole(tree, whole, wrong, file, line, path)
    yield from list(found.values())[:SHOWN]
    if len(found) > SHOWN:
        yield Problem("error", SCHEMA, f"and {len(found) - SHOWN} more: mend these first")
    if verdict.failure:
        yield Problem(
            "error", SCHEMA, _given_up(tree, wholes, len(verdict.checks), verdict.failure)
        )


def _of_whole(tree: Tree, whole: _Whole, wrong: Wrong, file: str, line: int, path: str) -> Problem:
    severity: Severity = "error"
    who = whole.agents[0]
    about = f"for agent {who}" if who else "for an agent without group or instance"
    if len(whole.agents) > 1:
        about += f" and {len(whole.agents) - 1} others"
    if not whole.known:
        about += ", which is not registered" if who else ""
        later = [one for one in tree.layers if one.startswith(layers.GROUP)]
        if not who:
            later = [one for one in tree.layers if one not in (layers.GLOBAL, layers.FLEET)]
        if wrong.mendable and later:
            severity = "warning"
    files = ", ".join(one.layer.file for one in whole.made.layers) or "no layer at all"
    message = f"{wrong.message} in what {files} make {about} ({_rule(wrong)})"
    return Problem(severity, file, message, line, path=path)


def _place(held: Sequence[Stored], path: Sequence[str | int]) -> tuple[str, int, str]:
    """File, line and dotted path of the value at ``path``, or of what is nearest above it."""
    names: list[str] = []
    for one in path:
        if not isinstance(one, str):
            break
        names.append(one)
    inside = "".join(
        f"[{one}]" if isinstance(one, int) else f".{one}" for one in path[len(names) :]
    )
    shown = paths.shown(names) + inside
    for length in range(len(names), 0, -1):
        for layer in (stored.layer for stored in reversed(held)):
            if paths.find(layer.values, names[:length]) not in (paths.MISSING, None):
                return layer.file, paths.nearest_line(layer.lines, names[:length]), shown
    return (held[-1].layer.file if held else "."), 0, shown


def _rule(wrong: Wrong) -> str:
    return f"{SCHEMA} {wrong.place[:200]}" if wrong.place else SCHEMA


def _schema_problem(tree: Tree, place: Sequence[str | int], message: str) -> Problem:
    names = [str(one) for one in place]
    line = paths.nearest_line(tree.schema_lines, names)
    pointer = "/".join(["#", *names])
    return Problem("error", SCHEMA, f"the schema is invalid at {pointer}: {message}", line)


def _given_up(tree: Tree, wholes: Sequence[_Whole], done: int, failure: str) -> str:
    files = [layer.file for layer in tree.layers.values()]
    subjects = files + [f"the configuration of {one.agents[0] or 'any agent'}" for one in wholes]
    about = f" at {subjects[done]}" if done < len(subjects) else ""
    return (
        f"checking was given up{about}: {failure}. Look for a pattern with nested repetition such "
        "as (a+)+, or for alternatives within alternatives, and make it simpler"
    )
