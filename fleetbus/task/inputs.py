"""What a person types after a capability's name, as a value. No I/O but reading named files."""

import re
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import typer

from bus.client.timing import seconds

_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(:=|=)(.*)", re.DOTALL)


def value_of(
    pairs: Iterable[str], whole: str | None = None, raw: str | None = None
) -> dict[str, Any] | bytes | Any:
    """The input of a task: from ``name=value`` pairs, ``--input`` or ``--bytes``.

    None if nothing was given.

    Raises:
        ValueError: naming the argument that cannot be used, and why.
    """
    pairs = list(pairs)
    given = [bool(pairs), whole is not None, raw is not None]
    if sum(given) > 1:
        raise ValueError("give name=value pairs, or --input, or --bytes, and not several of them")
    if raw is not None:
        return _bytes(raw)
    if whole is not None:
        return _whole(whole)
    return pairs_of(pairs) if pairs else None


def pairs_of(pairs: Iterable[str]) -> dict[str, Any]:
    """``name=value`` pairs as a mapping.

    A value is JSON if it can be read as such, else text. ``name:=value`` must be JSON;
    ``name=@file`` is a file's text and ``name:=@file`` a file's JSON.

    Raises:
        ValueError: naming the pair that cannot be used, and why.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        match = _PAIR.fullmatch(pair)
        if match is None:
            raise ValueError(f"{pair!r} is not name=value")
        name, sign, text = match.groups()
        if name in found:
            raise ValueError(f"{name!r} is given twice")
        file = text.startswith("@")
        if file:
            text = _bytes(text[1:]).decode()
        found[name] = _json(text, pair) if sign == ":=" else text if file else guess(text)
    return found


def guess(text: str) -> Any:
    """JSON if it can be read as such, else the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def span(text: str) -> float:
    """A duration on the command line: seconds, or ``90s``, ``10m``, ``1h30m``.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        value = float(text) if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text) else seconds(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither seconds nor such as 90s, 10m, 1h30m") from (
            None
        )
    if not value > 0:
        raise typer.BadParameter(f"{text!r} is not more than 0")
    return value


def moment(text: str, now: datetime | None = None) -> datetime:
    """``--at``: ``2026-12-24T08:00``, ``2026-12-24T08:00+01:00``, or ``+10m`` from now.

    A time without a zone is local time.

    Raises:
        typer.BadParameter: it is none of these.
    """
    try:
        if text.startswith("+"):
            start = now or datetime.now().astimezone()
            return start + timedelta(seconds=seconds(text[1:]))
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is neither a time such as 2026-12-24T08:00 nor such as +10m"
        ) from None


def _whole(text: str) -> Any:
    if text == "-":
        return _json(sys.stdin.buffer.read().decode(), "standard input")
    if text.startswith("@"):
        return _json(_bytes(text[1:]).decode(), text[1:])
    return _json(text, "--input")


def _json(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as problem:
        raise ValueError(f"{what}: not JSON: {problem}") from None


def _bytes(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as problem:
        raise ValueError(f"{name}: {problem.strerror or problem}") from None
