"""``fleetbus config explain``: each value of an agent's configuration, and where it is from."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetbus import console
from fleetbus.connection import Fleet, Json, Url, connected, run
from fleetbus.exits import Exit

if TYPE_CHECKING:
    from bus.config import Layers, Setting
    from bus.wire.config import ConfigLayer, ConfigReport

HELP = """Show each value of an agent's configuration with the layer, file, line and commit that it
comes from, and what it hid.

KEY is a dotted path (llm.model); all values at it and below are shown. Overrides are asked of
the agent itself. An agent that is not registered is explained too, as far as its own layer and
those of all go.

Examples:

  fleetbus config explain summarizer-1

  fleetbus config explain summarizer-1 llm.model

  fleetbus config explain summarizer-1 --json | jq -r '.values[] | [.key, .layer] | @tsv'
"""

OVERRIDES = "override"


def explain(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id.")],
    key: Annotated[
        str, typer.Argument(metavar="KEY", show_default=False, help="Only this value.")
    ] = "",
    as_json: Json = False,
    url: Url = None,
    fleet: Fleet = None,
) -> None:
    raise typer.Exit(run(_explain(agent, key, as_json, url, fleet)))


async def _explain(agent: str, key: str, as_json: bool, url: str | None, fleet: str | None) -> Exit:
    from bus.client import config, registry
    from bus.client.drift import ask, report_of
    from bus.config import explain as traced
    from bus.config import paths
    from bus.subjects import token

    token("agent", agent)
    under = paths.parse(key) if key else ()
    async with connected(url, fleet) as client:
        card = await registry.card(client.bus, agent)
        layers = (await config.current(client.bus)).layers
        report: ConfigReport | None = None
        if card is not None:
            async for reply in ask(client.bus, [agent], f"agent={agent}"):
                report, _ = report_of(reply)
    if card is None:
        console.hint(f"agent {agent} is not registered: groups with a selector are left out")
        found = layers.of(agent, "", {}, [])
    else:
        offered = [one.name for one in card.capabilities]
        found = layers.of(agent, card.site, card.labels, offered)
    entries: list[tuple[str, Any]] = [(one.name, one.layer.values) for one in found.layers]
    for override in report.overrides if report else ():
        entries.append((OVERRIDES, paths.nested(paths.parse(override.path), override.value)))
    settings = traced(entries, under)
    if as_json:
        console.print_document(_document(agent, found.hash, layers, settings, report))
    elif settings:
        for setting in settings:
            _show(setting, layers, report)
        _state(found.hash, report)
    if not settings:
        what = f"no value at {key!r}" if key else "no configuration"
        console.hint(f"agent {agent} has {what}")
        return Exit.FAILED if key else Exit.OK
    return Exit.OK


def _place(setting_path: tuple[str, ...], layer: "ConfigLayer | None") -> dict[str, Any]:
    from bus.config import paths

    if layer is None:
        return {"file": "", "line": 0, "commit": "", "author": ""}
    return {
        "file": layer.file,
        # What a null removes, or an empty mapping holds, may stand on a line above.
        "line": paths.nearest_line(layer.lines, setting_path),
        "commit": layer.commit,
        "author": layer.author or layer.by,
    }


def _document(
    agent: str, digest: str, layers: "Layers", settings: "list[Setting]", report: Any
) -> dict[str, Any]:
    from bus.config import paths

    def layer_of(name: str) -> "ConfigLayer | None":
        stored = layers.stored.get(name)
        return None if stored is None else stored.layer

    return {
        "agent": agent,
        "hash": digest,
        "commit": layers.commit,
        "report": report,
        "values": [
            {
                "key": paths.shown(one.path),
                "value": one.value,
                "removed": one.removed,
                "layer": one.layer,
                **_place(one.path, layer_of(one.layer)),
                "hides": [
                    {
                        "key": paths.shown(hidden.path),
                        "value": hidden.value,
                        "layer": hidden.layer,
                        **_place(hidden.path, layer_of(hidden.layer)),
                    }
                    for hidden in one.hides
                ],
            }
            for one in settings
        ],
    }


def _show(setting: "Setting", layers: "Layers", report: "ConfigReport | None") -> None:
    from rich.text import Text

    from bus.config import paths

    out = console.stdout()
    value = "removed" if setting.removed else console.to_json(setting.value)
    line = Text.assemble((console.clean(paths.shown(setting.path)), "bold"), " = ")
    line.append(console.clean(value), "dim" if setting.removed else "cyan")
    out.print(line, soft_wrap=True)
    out.print(f"    {_source(setting.layer, setting.path, layers, report)}", soft_wrap=True)
    for hidden in setting.hides:
        what = paths.shown(hidden.path) + " = " if hidden.path != setting.path else ""
        text = f"    hides {what}{console.to_json(hidden.value)} of "
        text += _source(hidden.layer, hidden.path, layers, report)
        out.print(Text(console.clean(text), "dim"), soft_wrap=True)


def _source(
    name: str, path: tuple[str, ...], layers: "Layers", report: "ConfigReport | None"
) -> str:
    import time

    from bus.config import paths

    if name == OVERRIDES:
        shown = paths.shown(path)
        for one in report.overrides if report else ():
            if one.path == shown or shown.startswith(f"{one.path}."):
                left = console.duration(max(0.0, one.until_ms / 1000 - time.time()))
                return console.clean(f"override by {one.by or 'somebody'}, {left} left")
        return OVERRIDES
    layer = layers.stored[name].layer
    place = _place(path, layer)
    parts = [f"layer {name}"]
    if place["file"]:
        parts.append(f"{place['file']}:{place['line']}")
    if place["commit"]:
        parts.append(f"commit {place['commit'][:12]}")
    if place["author"]:
        parts.append(place["author"])
    return console.clean(", ".join(parts))


def _state(wanted: str, report: "ConfigReport | None") -> None:
    if report is None:
        console.hint("the agent does not answer: this is what it should have")
    elif report.rejected is not None:
        console.say(
            f"the agent rejects this and keeps {report.hash[:8]}: {report.rejected.reason}",
            "drift",
            "31",
        )
    elif report.hash != wanted:
        console.say(f"the agent still has {report.hash[:8]} and not {wanted[:8]}", "drift", "33")
