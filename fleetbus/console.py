"""What people and scripts see: consoles, JSON, tables, and numbers made readable.

Rich is imported at the first use and not before: ``fleetbus agent run`` never needs it.
Typer is not imported at all, for the same reason.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec

from fleetbus.exits import exit_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE: Final = 10_000
"""Columns where there is no terminal: what is piped is never cut or wrapped."""


@cache
def stdout() -> Console:
    """The console for results. Colours on a terminal only, and not with NO_COLOR."""
    return _console(sys.stdout)


@cache
def stderr() -> Console:
    """The console for everything that is not a result: progress, hints, errors."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    from rich.console import Console

    # No markup and no emoji codes: what agents say about themselves is shown, not obeyed.
    return Console(
        file=file,
        width=None if file.isatty() else WIDE,
        markup=False,
        emoji=False,
        highlight=False,
    )


def fail(error: BaseException) -> SystemExit:
    """Say what went wrong on stderr; raise what is returned to end with the fitting status."""
    say(str(error) or type(error).__name__, "error", "31")
    return SystemExit(int(exit_of(error)))


def hint(text: str) -> None:
    """A line for people on stderr, such as what to do next."""
    say(text, "", "2")


def say(text: str, prefix: str = "", colour: str = "") -> None:
    """One line on stderr. ``colour`` is an SGR code, used on a terminal only."""
    lines = "\n".join(clean(line) for line in text.splitlines())
    if colour and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        # The prefix alone where there is one: a long error is easier to read uncoloured.
        if prefix:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        else:
            lines = f"\x1b[{colour}m{lines}\x1b[0m"
    print(f"{prefix}: {lines}" if prefix else lines, file=sys.stderr, flush=True)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Say on a terminal what is waited for, until it is over."""
    where = stderr()
    if not where.is_terminal:
        yield
        return
    with where.status(clean(text)):
        yield


def print_json(value: Any) -> None:
    """``value`` on stdout as one line of JSON, flushed, so that a pipe sees it at once."""
    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def print_document(value: Any) -> None:
    """``value`` on stdout as one JSON document, indented."""
    sys.stdout.write(msgspec.json.format(to_json(value), indent=2) + "\n")
    sys.stdout.flush()


def to_json(value: Any) -> str:
    """JSON of builtins, dataclasses and wire values; bytes become base64."""
    return msgspec.json.encode(full(value)).decode()


def full(value: Any) -> Any:
    """Builtins with every field present. On the wire defaults are left out, but a script that
    reads ``.running`` must find a 0 there."""
    if isinstance(value, msgspec.Struct):
        return {name: full(getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: full(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: full(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [full(one) for one in value]
    return value


def table(*columns: str, title: str = "") -> Table:
    """An empty table. A column whose name begins with ``>`` is aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
    for column in columns:
        right = column.startswith(">")
        made.add_column(
            column.removeprefix(">"),
            justify="right" if right else "left",
            # Numbers and the first column, by which a row is named and copied, stay whole.
            no_wrap=right or column == columns[0],
            overflow="fold",
        )
    return made


def clean(text: object) -> str:
    """Text that cannot drive a terminal: control characters are shown as escapes."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def duration(seconds: float) -> str:
    """``850 µs``, ``12.5 ms``, ``3.2 s``, ``5m 10s``, ``2h 05m``, ``3d 04h``."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def size(count: float) -> str:
    """Bytes as ``512 B``, ``43.2 MiB``."""
    if abs(count) < 1023.5:
        return f"{count:.0f} B"
    units = ("KiB", "MiB", "GiB", "TiB")
    step = 0
    count /= 1024
    while abs(count) >= 999.5 and step < len(units) - 1:
        count /= 1024
        step += 1
    return f"{count:.3g} {units[step]}"


def age(since_ms: int, now: float | None = None) -> str:
    """How long ago a Unix time in milliseconds was; ``-`` for 0, which means unknown."""
    if not since_ms:
        return "-"
    return duration(max(0.0, (time.time() if now is None else now) - since_ms / 1000))
