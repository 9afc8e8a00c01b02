"""What people and scripts see of a bundle. Values of settings are never shown."""

from __future__ import annotations

import shlex
from typing import Any

from rich.text import Text

from fleetbus import console
from fleetbus.edge.bundle import Bundle


def document(bundle: Bundle) -> dict[str, Any]:
    """For scripts."""
    return {
        "path": str(bundle.path),
        "target": bundle.target,
        "compiler": bundle.compiler,
        "loaded_bytes": bundle.loaded,
        "files": [console.full(one) for one in bundle.files],
        "parts": [console.full(one) for one in bundle.parts],
        "settings": bundle.settings,
        "next": next_step(bundle),
    }


def show(bundle: Bundle) -> None:
    """For people: the sizes, what is left out, and what to do next."""
    out = console.stdout()
    table = console.table("file", ">source", ">bytes")
    for one in bundle.files:
        table.add_row(one.file, f"{one.source:,}", f"{one.bytes:,}")
    total = sum(one.source for one in bundle.files)
    table.add_section()
    table.add_row("all", f"{total:,}", f"{sum(one.bytes for one in bundle.files):,}")
    out.print(table)
    for part in bundle.parts:
        word, style = ("with", "green") if part.taken else ("without", "yellow")
        out.print(Text.assemble((f"{word:8}", style), f"{part.part}: {part.why}"))
    if bundle.settings:
        out.print(Text(f"{'set':8}{', '.join(bundle.settings)}"))
    if bundle.target == "micropython" and not bundle.compiler:
        console.hint("mpy-cross is not at hand or not wanted: the modules are source")
    console.hint(f"made {bundle.path}; next: {next_step(bundle)}")


def next_step(bundle: Bundle) -> str:
    """The command that puts it to use."""
    path = shlex.quote(str(bundle.path))
    if bundle.target == "cpython":
        return f"scp {path} DEVICE: && ssh DEVICE python3 {shlex.quote(bundle.path.name)}"
    roots = sorted({one.file.split("/")[0] for one in bundle.files})
    files = " ".join(f"{path}/{one}" for one in roots)
    return f"mpremote cp -r {files} : + reset"
