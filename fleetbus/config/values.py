"""``fleetbus config get`` and ``set``: layers without Git."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from bus import Bus
    from bus.config.past import State
    from bus.wire.config import ConfigLayer

GET = """Show the layers on the bus, or what one of them sets.

Examples:

  fleetbus config get

  fleetbus config get group.10-gpu

  fleetbus config get global llm.model
"""

SET = """Set values in a layer on the bus, without Git. The agents have them at once.

VALUE is JSON if it can be read as such, else text; KEY:=VALUE must be JSON, KEY=@FILE is a
file's text. null removes what earlier layers have set; --unset takes a key out of this layer. A
fleet that syncs from Git refuses, unless --force; the next sync puts Git's value back.

Examples:

  fleetbus config set global llm.model=small llm.temperature:=0.2

  fleetbus config set group.10-gpu --selector gpu llm.model=large

  fleetbus config set instance.summarizer-1 --unset llm.model

  fleetbus config set group.10-gpu --delete
"""

Edit = Callable[["ConfigLayer | None"], "ConfigLayer | None"]
TRIES = 3
"""Times that a change is made again on top of what somebody else wrote meanwhile."""


def get(
    layer: Annotated[
        str, typer.Argument(metavar="LAYER", show_default=False, help="Which layer.")
    ] = "",
    key: Annotated[
        str, typer.Argument(metavar="KEY", show_default=False, help="Only this value.")
    ] = "",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    raise typer.Exit(run(_get(layer, key, as_json, url, fleet)))


def set_values(
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="Which layer.")],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", show_default=False, help="What it sets."),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", show_default=False, help="Take this out of the layer."),
    ] = None,
    selector: Annotated[
        str | None,
        typer.Option(
            metavar="SELECTOR", show_default=False, help="Of a group: the agents that it is for."
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the whole layer.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also on a fleet that syncs from Git.")
    ] = False,
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    from bus.errors import InvalidPath
    from fleetbus.config.assignments import assigned

    if selector is not None and not layer.startswith("group."):
        raise typer.BadParameter("--selector is for group layers: group.<nn>-<name>")
    if delete == bool(pairs or unset or selector is not None):
        raise typer.BadParameter("give KEY=VALUE, --unset or --selector, or --delete alone")
    try:
        over = assigned(pairs or [])
    except (ValueError, InvalidPath) as problem:
        raise typer.BadParameter(str(problem)) from None

    def changed(old: "ConfigLayer | None") -> "ConfigLayer | None":
        return None if delete else _changed(old, over, unset or [], selector)

    run(_set(layer, changed, force, as_json, url, fleet))


def _changed(
    old: "ConfigLayer | None", over: dict[str, Any], unset: list[str], selector: str | None
) -> "ConfigLayer":
    from bus.client.records import person
    from bus.config import paths
    from bus.errors import ConfigError
    from bus.selectors import Selector
    from bus.wire.config import ConfigLayer
    from fleetbus.config.assignments import laid, without

    values = laid(old.values if old else {}, over)
    for key in unset:
        try:
            values = without(values, paths.parse(key))
        except KeyError:
            raise ConfigError(f"the layer does not set {key!r}: nothing was changed") from None
    chosen = selector if selector is not None else old.selector if old else ""
    Selector.parse(chosen)
    return ConfigLayer(values, chosen, at_ms=time.time_ns() // 1_000_000, by=person())


async def _set(
    name: str, changed: Edit, force: bool, as_json: bool, url: str | None, fleet: str | None
) -> None:
    from bus.client import records
    from bus.config import layers

    layers.check(name)
    async with connected(url, fleet) as client:
        bus = client.bus
        new, revision = await _edit(bus, name, changed, force)
        by = records.person()
        data = {"layer": name, "revision": revision, "deleted": new is None}
        await records.event(bus, "config.set", bus.subjects.fleet, by=by, data=data)
        await records.audit(bus, "config-set", actor=by, target=name, data=data)
    if as_json:
        console.print_document({**data, "values": new.values if new else None})
    else:
        done = "deleted" if new is None else "set"
        console.say(f"layer {name} {done}, revision {revision}")


async def _edit(
    bus: "Bus", name: str, changed: Edit, force: bool
) -> "tuple[ConfigLayer | None, int]":
    """Change one layer on top of what it is, however often somebody else is faster."""
    from bus.client import config
    from bus.config import layers
    from bus.errors import ConfigConflict, ConfigError
    from bus.subjects import LAYERS

    tries = TRIES
    while True:
        state = await config.current(bus)
        _refuse_behind_git(bus, state, force)
        stored = state.layers.stored.get(name)
        new = changed(stored.layer if stored else None)
        groups = sum(1 for one in state.layers.stored if one.startswith(layers.GROUP))
        if stored is None and name.startswith(layers.GROUP) and groups >= layers.MAX_GROUPS:
            raise ConfigError(
                f"there are {groups} groups, and {layers.MAX_GROUPS} is the most: join some, or "
                "use instances"
            )
        if new is None and stored is None:
            raise ConfigError(f"there is no layer {name}; 'fleetbus config get' lists them")
        try:
            return new, await config.put(bus, name, new, state.revisions.get(LAYERS + name, 0))
        except ConfigConflict:
            tries -= 1
            if not tries:
                raise


def _refuse_behind_git(bus: "Bus", state: "State", force: bool) -> None:
    from bus.errors import ConfigError

    head = state.layers.head
    if head is not None and not force:
        raise ConfigError(
            f"fleet {bus.subjects.fleet!r} syncs from Git ({head.source}, commit "
            f"{head.commit[:12]}): commit the change there, use 'fleetbus config override' for a "
            "time, or --force it until the next sync puts it back"
        )


async def _get(layer: str, key: str, as_json: bool, url: str | None, fleet: str | None) -> Exit:
    from bus.client import config
    from bus.config import layers, paths
    from bus.errors import ConfigError

    path = paths.parse(key) if key else ()
    if layer:
        layers.check(layer)
    async with connected(url, fleet) as client:
        state = await config.current(client.bus)
    for name, problem in state.ignored.items():
        console.say(f"key {name} does not count, the value before it does: {problem}", "warn", "33")
    if not layer:
        _list(state, as_json)
        return Exit.OK
    stored = state.layers.stored.get(layer)
    if stored is None:
        raise ConfigError(f"there is no layer {layer}; 'fleetbus config get' lists them")
    found = paths.find(stored.layer.values, path)
    if found is paths.MISSING:
        console.hint(f"layer {layer} does not set {key!r}")
        return Exit.FAILED
    if as_json or path:
        console.print_document(found)
        return Exit.OK
    import yaml

    if stored.layer.selector:
        print(f"# selector: {console.clean(stored.layer.selector)}")
    print(console_yaml(yaml.safe_dump(found, allow_unicode=True, sort_keys=False)), end="")
    return Exit.OK


def console_yaml(text: str) -> str:
    """YAML that cannot drive a terminal."""
    return "".join(f"{console.clean(line)}\n" for line in text.splitlines())


def _list(state: "State", as_json: bool) -> None:
    edited = {one.layer for one in state.edited}
    if as_json:
        console.print_document(
            {
                "head": state.layers.head,
                "layers": [
                    {
                        "name": one.name,
                        "revision": one.revision,
                        "edited": one.name in edited,
                        "layer": one.layer,
                    }
                    for one in state.layers.stored.values()
                ],
                "ignored": state.ignored,
            }
        )
        return
    if not state.layers.stored:
        console.hint("no layers: set values with 'fleetbus config set', or sync a repository")
        return
    table = console.table("layer", "selector", ">keys", ">revision", "from", ">age")
    for one in state.layers.stored.values():
        layer = one.layer
        origin = f"{layer.file} {layer.commit[:12]}" if layer.commit else layer.by or "-"
        if one.name in edited:
            origin += " (edited behind Git's back)"
        table.add_row(
            one.name,
            console.clean(layer.selector) or "-",
            str(len(layer.values)),
            str(one.revision),
            console.clean(origin),
            console.age(layer.at_ms),
        )
    console.stdout().print(table)
