"""``fleetbus bench report``: tables and pictures of a result that is there."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fleetbus import console
from fleetbus.running import run

if TYPE_CHECKING:
    from bench.harness.figures import Run

FOLDER = Path("bench-results")
"""Where results are kept unless told otherwise, one folder a run."""
RESULT = "result.json"
REPORT = "report.md"

HELP = """Write the report of a result again: markdown, and pictures beside it.

RESULT is a folder that 'fleetbus bench' made, or its result.json; the newest by default. The
report goes to the same folder, or to that of --out, and to standard output.

Examples:

  fleetbus bench report

  fleetbus bench report bench-results/2026-11-21T12-00-00 --pictures png

  fleetbus bench report one.json --out docs/benchmarks
"""

Pictures = Annotated[
    Literal["svg", "png", "none"], typer.Option("--pictures", help="Their format.")
]


def report(
    result: Annotated[
        Path | None, typer.Argument(metavar="RESULT", show_default=False, help="The newest.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", show_default=False, help="Write it here."),
    ] = None,
    pictures: Pictures = "svg",
) -> None:
    run(_report(result, out, pictures))


async def _report(given: Path | None, out: Path | None, pictures: Pictures) -> None:
    from bench.harness.figures import load

    file = result_file(given)
    folder = out or file.parent
    print(write(load(file), folder, pictures), end="")
    console.hint(f"report and pictures: {folder}")


def result_file(given: Path | None) -> Path:
    """The file of a result: itself, the one in a folder, or the newest there is.

    Raises:
        BenchError: there is none.
    """
    from bench.harness.errors import BenchError

    if given is not None:
        return given / RESULT if given.is_dir() else given
    found = sorted(FOLDER.glob(f"*/{RESULT}"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise BenchError(f"there is no result in {FOLDER}: run 'fleetbus bench' first, or name one")
    return found[-1]


def usable(folder: Path, pictures: Pictures) -> None:
    """Find out before a long run what would spoil its end.

    Raises:
        BenchError: the folder cannot be written or holds a result already, or a library for
            pictures is missing.
    """
    from bench.harness.errors import BenchError, Missing

    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise BenchError(f"{there} is not a folder that can be written: name another with --out")
    if (folder / RESULT).exists():
        raise BenchError(f"{folder} holds a result already: name another folder with --out")
    if pictures != "none" and find_spec("matplotlib") is None:
        raise Missing("matplotlib", "pip install 'fleetbus[bench]', or ask for --pictures none")


def write(result: "Run", folder: Path, pictures: Pictures) -> str:
    """Write the report and its pictures; what it says.

    Raises:
        BenchError: the folder cannot be written, a library for pictures is missing, or the
            result names a scenario that this version does not have.
    """
    from bench.harness.errors import BenchError
    from bench.harness.scenario import scenario
    from bench.report.markdown import report as made

    scenarios = [scenario(name) for name in result.scenarios]
    drawn: dict[str, list[str]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if pictures != "none":
            from bench.report.plots import draw

            drawn = draw(result, scenarios, folder, pictures)
        text = made(result, scenarios, drawn)
        (folder / REPORT).write_text(text)
    except OSError as error:
        raise BenchError(f"{folder} cannot be written: {error.strerror or error}") from error
    return text
