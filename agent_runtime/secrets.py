"""Secrets: references become values on the agent only, and values never leave it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from agent_runtime.calling import TookTooLongError, bounded
from agent_runtime.faults import shortened
from bus.config.secrets import PREFIX, Reference, is_reference, parse
from bus.errors import CapabilityError, FleetError

Resolver = Callable[[str], str | Awaitable[str]]
"""From what follows ``secret://<scheme>/`` to the secret. A plain one is called in a thread."""

TIME: Final = 30.0
"""Seconds that a resolver may take."""

LARGEST: Final = 64 * 1024
"""Bytes of a file that holds a secret."""

SHORTEST: Final = 4
"""Characters of a secret that is looked for in texts; shorter ones would be found anywhere."""

INSTEAD: Final = "[secret]"

_CUT: Final = re.compile(r"(…|\.\.\.)")
"""Where a text was shortened."""


class Unresolved(FleetError):
    """A reference to a secret could not be resolved. Names the reference, never a value."""

    def __init__(self, reference: str, problem: str) -> None:
        self.reference = reference
        super().__init__(f"{shortened(reference)}: {problem}")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration in which references have become secrets. Not to be shown."""

    values: dict[str, Any] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


def resolvers(own: Mapping[str, Resolver]) -> dict[str, Resolver]:
    """``env``, ``file`` and the user's, by scheme.

    Raises:
        CapabilityError: a scheme's name cannot be written in a reference, or is no function's.
    """
    for scheme, resolver in own.items():
        found = parse(f"{PREFIX}{scheme}/x")
        if found != Reference(str(scheme), "x"):
            raise CapabilityError(
                f"secrets: scheme {scheme!r} cannot be used in {PREFIX}<scheme>/…: use a-z first, "
                "then a-z 0-9 + -"
            )
        if not callable(resolver):
            raise CapabilityError(
                f"secrets: {scheme!r} is {type(resolver).__name__}: give a function that takes "
                "the rest of the reference and returns the secret"
            )
    return {"env": _env, "file": _file, **own}


async def resolve(values: Mapping[str, Any], by: Mapping[str, Resolver]) -> Resolved:
    """``values`` with each string that is a reference replaced by the secret.

    Raises:
        Unresolved: naming the first that cannot be.
    """
    references = sorted(set(_references(values)))
    found: dict[str, str] = {}
    for text in references:
        found[text] = await _one(text, by, frozenset(found.values()))
    return Resolved(_replaced(values, found), frozenset(found.values()))


class Redactor:
    """Takes secrets out of texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for one in secrets for form in _forms(one) if len(form) >= SHORTEST}
        # The longest first: one may be part of another.
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: object) -> str:
        """``text`` without them, or without the parts of them that it was shortened to."""
        clean = str(text)
        if not self._forms:
            return clean
        for form in self._forms:
            clean = clean.replace(form, INSTEAD)
        pieces = _CUT.split(clean)
        for n in range(0, len(pieces) - 1, 2):
            for form in self._forms:
                pieces[n] = _without_start(pieces[n], form)
                pieces[n + 2] = _without_end(pieces[n + 2], form)
        return "".join(pieces)


def _without_start(piece: str, form: str) -> str:
    """``piece`` if the beginning of ``form`` is not the end of it."""
    at = piece.find(form[:SHORTEST])
    while at >= 0:
        if form.startswith(piece[at:]):
            return piece[:at] + INSTEAD
        at = piece.find(form[:SHORTEST], at + 1)
    return piece


def _without_end(piece: str, form: str) -> str:
    """``piece`` if the end of ``form`` is not the beginning of it."""
    at = piece.rfind(form[-SHORTEST:])
    while at >= 0:
        if form.endswith(piece[: at + SHORTEST]):
            return INSTEAD + piece[at + SHORTEST :]
        at = piece.rfind(form[-SHORTEST:], 0, at + SHORTEST - 1)
    return piece


def _forms(secret: str) -> set[str]:
    """How a secret may stand in a text: as it is, quoted in some way, or a line of it."""
    plain = {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}
    quoted = set[str]()
    for one in plain:
        quoted |= {repr(one)[1:-1], quote(one, safe="", errors="replace")}
        quoted |= {json.dumps(one, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)}
    return plain | quoted


def _references(value: Any) -> Iterable[str]:
    if is_reference(value):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _references(one)


def _replaced(value: Any, found: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(one, found) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(one, found) for one in value]
    return found[value] if is_reference(value) else value


async def _one(text: str, by: Mapping[str, Resolver], others: frozenset[str]) -> str:
    reference = parse(text)
    if reference is None:
        raise Unresolved(text, f"write {PREFIX}<scheme>/<rest>, for example {PREFIX}env/NAME")
    resolver = by.get(reference.scheme)
    if resolver is None:
        known = ", ".join(sorted(by))
        raise Unresolved(
            text,
            f"this agent has no resolver {reference.scheme!r}; it has {known} "
            "(more are given as Agent(secrets={…}))",
        )
    # Each file by itself: one on a share that hangs keeps no other from being read.
    key = text if resolver is _file else None
    try:
        secret = await bounded(resolver, reference.rest, seconds=TIME, key=key)
    except Unresolved:
        raise
    except TookTooLongError as problem:
        raise Unresolved(text, f"resolver {reference.scheme!r}: {problem}") from None
    except Exception as problem:  # a resolver of the user's may raise anything
        why = shortened(Redactor(others)(f"{type(problem).__name__}: {problem}"))
        raise Unresolved(text, f"resolver {reference.scheme!r} failed with {why}") from None
    if not isinstance(secret, str):
        raise Unresolved(
            text,
            f"resolver {reference.scheme!r} returned {type(secret).__name__}: a secret is text",
        )
    return secret


async def _env(name: str) -> str:
    try:
        return os.environ[name]
    except (KeyError, ValueError):
        raise Unresolved(
            f"{PREFIX}env/{name}", "the agent's environment has no such variable"
        ) from None


def _file(rest: str) -> str:
    reference = f"{PREFIX}file/{rest}"
    # An absolute path however it is written: the agent's own directory is an accident.
    try:
        path = Path(rest).expanduser() if rest.startswith("~") else Path("/", rest.lstrip("/"))
        # Without waiting for somebody to write, if it is a pipe.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Unresolved(reference, "it is not a regular file")
            data = file.read(LARGEST + 1)
    except OSError as problem:
        why = problem.strerror or type(problem).__name__
        raise Unresolved(reference, f"the file cannot be read: {why}") from None
    except (RuntimeError, ValueError) as problem:  # no home directory; a NUL in the path
        raise Unresolved(reference, f"it is not a path: {problem}") from None
    if len(data) > LARGEST:
        raise Unresolved(reference, f"the file is larger than {LARGEST} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Unresolved(reference, "the file is not UTF-8 text") from None
