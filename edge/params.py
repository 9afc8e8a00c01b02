"""Parameters of capabilities and commands: their types, as their author names them.

There are no annotations at run time on MicroPython, so ``params`` says what a function takes:
``{"text": str, "times": (int, 1)}``. A tuple holds a default; ``object`` is any JSON value.
"""

from edge.names import token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Params = dict[str, Any]

KINDS = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


class Invalid(Exception):
    """An input does not fit. ``field`` is the parameter at fault, empty for all of it."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}" if field else rule)
        self.field = field
        self.rule = rule


def declared(what: str, params: "Params | None") -> "Params | None":
    """``params`` if they can be checked.

    Raises:
        ValueError: naming ``what``, the parameter and the rule.
    """
    for name, kind in (params or {}).items():
        token(what + ": parameter", name)
        if isinstance(kind, tuple) and len(kind) == 2:
            kind = kind[0]
        if kind is not object and kind not in list(KINDS):
            raise ValueError(
                f"{what}: parameter {name}: write one of str, int, float, bool, list, dict and "
                "object, or (type, default)"
            )
    return params


def schema(params: "Params | None") -> "dict[str, Any]":
    """The JSON Schema of an input."""
    if params is None:
        return {}
    properties = {}
    required = []
    for name, kind in params.items():
        if isinstance(kind, tuple):
            kind = kind[0]
        else:
            required.append(name)
        properties[name] = {"type": KINDS[kind]} if kind in KINDS else {}
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        made["required"] = sorted(required)
    return made


def checked(values: "Any", params: "Params") -> "dict[str, Any]":
    """The arguments that ``values``, as JSON gave them, stand for; with defaults.

    Raises:
        Invalid: naming the parameter at fault, and the rule.
    """
    if not isinstance(values, dict):
        raise Invalid("", "the input must be a JSON object of parameters")
    for name in values:
        if name not in params:
            known = ", ".join(sorted(params)) or "none"
            raise Invalid(name[:100], "there is no such parameter; known are " + known)
    made = {}
    for name, kind in params.items():
        if isinstance(kind, tuple):
            kind, default = kind
            # A run that changes it must not change it for the next.
            made[name] = default.copy() if isinstance(default, (list, dict)) else default
        elif name not in values:
            raise Invalid(name, "is required and missing")
        if name in values:
            value = made[name] = values[name]
            if not fits(value, kind):
                said = "null" if value is None else type(value).__name__
                raise Invalid(name, f"Expected `{kind.__name__}`, got `{said}`")
    return made


def fits(value: "Any", kind: "Any") -> bool:
    """Whether ``value``, as JSON gave it, is of ``kind``; a whole number is a float too."""
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float) if kind is float else kind)
