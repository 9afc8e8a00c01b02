"""Configuration values: read, merged, told apart by a hash. Nothing here does I/O but ``resolved``.

A number with a fraction stays the text that it was (``NUMBER``), so that the hash is the same on
devices whose floats are short.
"""

import hashlib
import json

from edge import port
from edge.params import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NUMBER = "\x01n"
"""Begins a text that stands for a number with a fraction."""
DEEPEST = 64
"""Levels of values that are taken: what is deeper could end in the stack of a device."""


def loads(body: bytes) -> "Any":
    """What JSON says, numbers with a fraction as texts.

    Raises:
        ValueError: it is no JSON.
    """
    text = str(body, "utf-8")
    if not port.MICRO:
        return json.loads(text, parse_float=lambda one: NUMBER + _short(one), parse_constant=_no)
    # In bytes: to index a text takes MicroPython longer the further it has to go.
    made = []
    at = 0
    while at < len(body):
        quote = body.find(b'"', at)
        if quote < 0:
            quote = len(body)
        made.append(_tagged(body[at:quote]))
        at = _after(body, quote + 1)
        made.append(body[quote:at])
    return json.loads(b"".join(made))


def _after(body: bytes, at: int) -> int:
    """Where the text ends that has begun before ``at``."""
    while True:
        quote = body.find(b'"', at)
        if quote < 0:
            return len(body)
        back = quote
        while body[back - 1] == 92 and back > at:
            back -= 1
        at = quote + 1
        if (quote - back) % 2 == 0:
            return at


def _tagged(part: bytes) -> bytes:
    """What is between two texts, with each number that has a fraction in quotes."""
    if b"." not in part and b"e" not in part and b"E" not in part:
        return part
    made = []
    at = start = 0
    while at < len(part):
        end = at
        while end < len(part) and part[end] in b"+-.eE0123456789":
            end += 1
        number = part[at:end]
        # Not the e of true and false.
        if len(number) > 1 and (b"." in number or b"e" in number or b"E" in number):
            float(str(number, "utf-8"))
            made.append(part[start:at] + b'"\\u0001n' + number + b'"')
            start = end
        at = max(end, at + 1)
    made.append(part[start:])
    return b"".join(made)


def deep(value: "Any", levels: int) -> bool:
    """Whether ``value`` has more levels than these, and can be read, but not merged or hashed.

    Raises:
        ValueError: neither can text of it down to there: it has half a character.
    """
    if isinstance(value, dict):
        for name in value:
            name.encode()
        value = list(value.values())
    found = False
    if isinstance(value, list):
        if levels < 1:
            return True
        for one in value:
            found = deep(one, levels - 1) or found
    elif isinstance(value, str):
        value.encode()
    return found


def _no(constant: str) -> None:
    raise ValueError(constant + " is not JSON")


def _short(number: str) -> str:
    """The shortest text of a float, as the fleet's tools write it."""
    text = repr(float(number))
    mantissa, exponent, power = text.partition("e")
    if exponent and int(power) == -5:
        sign = "-" if mantissa[0] == "-" else ""
        return sign + "0.0000" + mantissa.replace(".", "").replace("-", "")
    if "n" in text:
        raise ValueError(number + " is out of range")
    return f"{mantissa}e{int(power)}" if exponent else text


def plain(value: "Any") -> "Any":
    """``value`` with numbers for the texts that stand for them."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str) and value.startswith(NUMBER):
        try:
            return float(value[2:])
        except ValueError:
            return value  # somebody's text that begins so
    return value


def canonical(value: "Any") -> str:
    """``value`` as JSON with sorted keys and without blanks."""
    if isinstance(value, dict):
        inner = [f"{_quoted(name)}:{canonical(value[name])}" for name in sorted(value)]
        return "{" + ",".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ",".join([canonical(one) for one in value]) + "]"
    if isinstance(value, str):
        return value[2:] if value.startswith(NUMBER) else _quoted(value)
    if isinstance(value, float):
        return _short(repr(value))
    return json.dumps(value)


def _quoted(text: str) -> str:
    made = []
    for one in text:
        if one in '"\\':
            made.append("\\" + one)
        elif ord(one) >= 32:
            made.append(one)
        else:
            at = "\b\t\n\f\r".find(one)
            made.append("\\" + "btnfr"[at] if at >= 0 else "\\u%04x" % ord(one))
    return '"' + "".join(made) + '"'


def digest(value: "Any") -> str:
    """The hash by which two configurations are told to be equal."""
    return hashlib.sha256(canonical(value).encode()).digest().hex()[:16]


def differ(one: "Any", other: "Any") -> bool:
    """Whether two values do. To Python 1, 1.0 and true are the same; here they are not."""
    return canonical(one) != canonical(other)


def lay(base: "dict[str, Any]", over: "dict[str, Any]") -> None:
    """Lay ``over`` over ``base`` as a JSON Merge Patch (RFC 7396)."""
    for name, value in over.items():
        if value is None:
            base.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(base.get(name), dict):
                base[name] = {}
            lay(base[name], value)
        else:
            base[name] = value


def copied(value: "dict[str, Any]") -> "dict[str, Any]":
    """Another of the same, that shares nothing but lists with it."""
    made: dict[str, Any] = {}
    for name, one in value.items():
        made[name] = copied(one) if isinstance(one, dict) else one
    return made


def find(value: "Any", path: "list[str]") -> "Any":
    """What is at ``path``; None where nothing is."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def nested(path: "list[str]", value: "Any") -> "dict[str, Any]":
    """A mapping that holds ``value`` at ``path`` and nothing else."""
    for name in path[::-1]:
        value = {name: value}
    made: dict[str, Any] = value
    return made


def leaves(value: "Any", path: "list[str]") -> "list[tuple[list[str], Any]]":
    """Path and value of everything that is not a mapping with something in it."""
    if not isinstance(value, dict) or (not value and path):
        return [(path, value)]
    found = []
    for name in sorted(value):
        found += leaves(value[name], path + [name])
    return found


def path(text: str) -> "list[str]":
    """The names that a dotted path is made of: ``llm.model``, ``hosts."a.b".port``.

    Raises:
        Invalid: it is no path.
    """
    names = []
    at = 0
    while True:
        end = at
        if text[at : at + 1] == '"':
            end += 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            try:
                names.append(str(json.loads(text[at : end + 1])))
            except ValueError:
                raise Invalid(text[:100], "a quoted name is not a JSON string") from None
            end += 1
        else:
            while end < len(text) and not _odd(text[end]):
                end += 1
            if end == at:
                raise Invalid(text[:100], f"a name is missing at character {at + 1}")
            names.append(text[at:end])
        if end >= len(text):
            return names
        if text[end] != ".":
            raise Invalid(text[:100], f"expected a dot at character {end + 1}")
        at = end + 1


def _odd(one: str) -> bool:
    """Whether a name with this character stands in quotes."""
    return one <= " " or one in '."' or one.isspace()


def shown(names: "list[str]") -> str:
    """The text that ``path`` turns back into ``names``."""
    made = []
    for one in names:
        made.append(_quoted(one) if not one or any(_odd(c) for c in one) else one)
    return ".".join(made)


async def resolved(value: "Any", secrets: "dict[str, Any]", found: "list[str]") -> "Any":
    """``value`` for handlers: numbers as numbers, and for each reference ``secret://…`` the
    secret, which is put into ``found`` too.

    Raises:
        Invalid: naming the reference that cannot be resolved, in the field ``secret``.
    """
    # Loops: MicroPython cannot await in a comprehension.
    if isinstance(value, dict):
        made = {}
        for name in value:
            made[name] = await resolved(value[name], secrets, found)
        return made
    if isinstance(value, list):
        items = []
        for one in value:
            items.append(await resolved(one, secrets, found))
        return items
    if not isinstance(value, str) or not value.startswith("secret://"):
        return plain(value)
    scheme, _, rest = value[9:].partition("/")
    try:
        if scheme in secrets:
            secret = await port.call(secrets[scheme], (rest,), {}, [])
        elif scheme == "env":
            secret = port.getenv(rest)
        elif scheme == "file":
            with open("/" + rest.lstrip("/")) as file:
                secret = file.read(65_536).rstrip("\r\n")
        else:
            known = ", ".join(sorted(list(secrets) + ["env", "file"]))
            raise ValueError("no such resolver; there are " + known)
        if not isinstance(secret, str) or not secret:
            raise ValueError("there is no such secret")
    except port.RAISED as problem:  # a resolver of the user's may raise anything
        raise Invalid("secret", f"{value[:200]}: {port.said(problem)}") from None
    if len(secret) >= 4:
        found.append(secret)
    return secret
