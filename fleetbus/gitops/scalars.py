"""YAML scalars by the core schema of YAML 1.2.

Only ``null``, ``~``, nothing, ``true``, ``false`` (also capitalised) and numbers are anything but
text: ``no``, ``on``, ``12:30`` and ``2026-11-21`` are text, and ``010`` is ten.
"""

from __future__ import annotations

import math
import re
from typing import Final

Scalar = str | int | float | bool | None

SMALLEST: Final = -(2**63)
LARGEST: Final = 2**64 - 1
"""JSON on the bus has integers of 64 bits, with a sign or without."""

TAG: Final = "tag:yaml.org,2002:"

_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"(?P<sign>[-+]?)(?P<digits>[0-9]+)", re.ASCII)
_OCTAL: Final = re.compile(r"0o(?P<digits>[0-7]+)", re.ASCII)
_HEX: Final = re.compile(r"0x(?P<digits>[0-9a-fA-F]+)", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_FIRST: Final = frozenset("+-.0123456789")


class NotAScalar(ValueError):
    """A scalar is not allowed; the message says why and what to do."""


def plain(text: str) -> Scalar:
    """What an unquoted scalar without a tag stands for.

    Raises:
        NotAScalar: it is a number that JSON does not have.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST:
        return text
    if found := _INTEGER.fullmatch(text):
        number = _integer(found["digits"], 10)
        return bounded(-number if found["sign"] == "-" else number)
    if found := _OCTAL.fullmatch(text):
        return bounded(_integer(found["digits"], 8))
    if found := _HEX.fullmatch(text):
        return bounded(_integer(found["digits"], 16))
    if _FLOAT.fullmatch(text):
        return finite(float(text), text)
    if _NOT_FINITE.fullmatch(text):
        return finite(math.nan, text)
    return text


def tagged(tag: str, text: str) -> Scalar:
    """What a scalar with ``tag`` stands for; its own meaning must agree with the tag.

    Raises:
        NotAScalar: it does not, or there is no such tag.
    """
    if tag == f"{TAG}str":
        return text
    value = plain(text)
    match tag.removeprefix(TAG):
        case "null" if value is None:
            return value
        case "bool" if isinstance(value, bool):
            return value
        case "int" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "float" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        case "null" | "bool" | "int" | "float" as name if tag.startswith(TAG):
            raise NotAScalar(f"{text[:40]!r} is no {name}: remove the tag !!{name}")
    raise unknown_tag(tag)


def unknown_tag(tag: str) -> NotAScalar:
    """The refusal of ``tag``."""
    shown = f"!!{tag.removeprefix(TAG)}" if tag.startswith(TAG) else tag
    return NotAScalar(
        f"the tag {shown[:80]} is not allowed: values are text, numbers, true, false, null, lists "
        "and mappings, so remove it"
    )


def finite(number: float, text: str) -> float:
    """``number``.

    Raises:
        NotAScalar: it is infinite or no number.
    """
    if not math.isfinite(number):
        raise NotAScalar(
            f"{text[:40]} is not a finite number, and JSON has no other: write a number up to "
            "1e308, or put it in quotes"
        )
    return number


def bounded(number: int) -> int:
    """``number``.

    Raises:
        NotAScalar: it has more than 64 bits.
    """
    if not SMALLEST <= number <= LARGEST:
        raise NotAScalar(
            f"the integer is not between {SMALLEST} and {LARGEST} (64 bits): put it in quotes"
        )
    return number


def _integer(digits: str, base: int) -> int:
    """Never more work than for a number that is just too big."""
    return int(digits.lstrip("0")[:30] or "0", base)
