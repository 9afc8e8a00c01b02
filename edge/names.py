"""Names, and the checks of what people and the wire say."""

import json

from edge import port
from edge.errors import Garbage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "0.1.0"

BUILT_IN = (
    "cancel",
    "config",
    "config-clear",
    "config-override",
    "drain",
    "ping",
    "resume",
    "set-log-level",
    "status",
    "stop",
)
"""The commands that every agent answers."""

LEGAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


def is_token(name: "Any") -> bool:
    """True if ``name`` may be one token of a subject."""
    return isinstance(name, str) and 0 < len(name) < 65 and all(one in LEGAL for one in name)


def token(kind: str, name: "Any") -> str:
    """``name`` if it may be one token of a subject.

    Raises:
        ValueError: naming ``kind`` and the rule.
    """
    if not is_token(name):
        raise ValueError(f"{kind} {str(name)[:80]}: use 1 to 64 characters of A-Z a-z 0-9 _ -")
    return str(name)


def shaped(what: str, value: "Any", **kinds: "Any") -> "dict[str, Any]":
    """``value`` if it is an object whose fields are of ``kinds``; those whose kind is in a tuple
    with a default may be missing.

    Raises:
        Garbage: it is not.
    """
    if not isinstance(value, dict):
        raise Garbage(what + " is not an object")
    for name, kind in kinds.items():
        if isinstance(kind, tuple):
            kind, default = kind
            value.setdefault(name, default)
        if name not in value:
            raise Garbage(f"{what}: {name} is missing")
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            raise Garbage(f"{what}: {name} is not {kind.__name__}")
    return value


def dumps(value: "Any") -> str:
    """``value`` as JSON without blanks.

    Raises:
        TypeError, ValueError: it has no JSON form.
    """
    if not port.MICRO:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        if "\\ud" in text:
            # Half a character has no UTF-8, and nobody could read it.
            json.dumps(value, ensure_ascii=False).encode()
        return text
    if not _plain(value):
        # It would be written as what is shown of it to people.
        raise TypeError("no JSON form of " + type(value).__name__)
    return json.dumps(value, separators=(",", ":"))


def _plain(value: "Any") -> bool:
    if isinstance(value, dict):
        return all(isinstance(one, str) and _plain(value[one]) for one in value)
    if isinstance(value, (list, tuple)):
        return all(_plain(one) for one in value)
    if isinstance(value, float):
        return value - value == 0  # else it is no number, or infinite
    return value is None or isinstance(value, (str, bool, int))


def ascii_json(text: str) -> str:
    """JSON that may stand in a header: no character beyond ASCII."""
    made = []
    for one in text:
        code = ord(one)
        if code > 0xFFFF:
            code -= 0x10000
            made.append("\\u%04x\\u%04x" % (0xD800 | code >> 10, 0xDC00 | code & 0x3FF))
        else:
            made.append(one if code < 127 else "\\u%04x" % code)
    return "".join(made)


def nested(subject: str, count: int) -> str:
    """The last ``count`` tokens of a subject."""
    return ".".join(subject.split(".")[-count:])
