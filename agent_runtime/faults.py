"""What a decoder found wrong with an input, as the field at fault and the rule it breaks."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bus.errors import InvalidInput

LONGEST: Final = 300
"""Characters of a problem that are passed on: it may quote the input."""
LONGEST_FIELD: Final = 100

_AT: Final = re.compile(r" - at `(?:key` in `)?\$([^`]*)`\Z")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)


def invalid(problem: Exception, prefix: str, known: Sequence[str]) -> InvalidInput:
    """The error for what msgspec, or a type of the handler's own, raised.

    Args:
        problem: what was raised.
        prefix: the parameter that the input was decoded as; empty for an object of all.
        known: names of all parameters.
    """
    text = str(problem)
    if isinstance(problem, msgspec.ValidationError):
        at = _AT.search(text)
        text = text[: at.start()] if at else text
        path = prefix + (at[1] if at else "")
        if (unknown := _UNKNOWN.match(text)) is not None:
            rule = "is unknown here"
            if not path.strip("."):
                rule = f"there is no such parameter; known are {', '.join(known) or 'none'}"
            return _at(f"{path}.{unknown[1]}", rule)
        if (missing := _MISSING.match(text)) is not None:
            return _at(f"{path}.{missing[1]}", "is required and missing")
        return _at(path, text)
    if isinstance(problem, RecursionError):
        return InvalidInput("", "the JSON is nested too deeply")
    if isinstance(problem, msgspec.DecodeError | UnicodeDecodeError):
        return InvalidInput("", f"the input must be JSON: {shortened(problem)}")
    return _at(prefix, f"it was refused with {type(problem).__name__}: {shortened(problem)}")


def invalid_foreign(problem: Exception, parameter: str) -> InvalidInput:
    """The error for what pydantic, or a validator of a model, raised."""
    listed = getattr(problem, "errors", None)
    if not callable(listed) or not isinstance(problem, ValueError):
        return invalid(problem, parameter, ())
    details: list[dict[str, Any]] = listed(
        include_url=False, include_context=False, include_input=False
    )
    path = parameter + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in details[0]["loc"]
    )
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return _at(path, shortened(details[0]["msg"]) + more)


def shortened(problem: object, longest: int = LONGEST) -> str:
    """A text that may quote an input of any size."""
    text = str(problem)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _at(path: str, rule: str) -> InvalidInput:
    return InvalidInput(shortened(path.lstrip("."), LONGEST_FIELD), shortened(rule))
