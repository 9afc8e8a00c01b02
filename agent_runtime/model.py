"""The user's model of a configuration: plain values in, what handlers read out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from agent_runtime.faults import shortened
from agent_runtime.schemas import PYDANTIC, adapter_of, schema_of, show
from bus.errors import CapabilityError

LONGEST: Final = 1000
"""Characters of a reason."""

SHOWN: Final = 5
"""Problems of one configuration that are told."""

_AT: Final = re.compile(r" - at `(?:key` in `)?\$([^`]*)`\Z")

_encode: Final = msgspec.json.Encoder().encode
_plain: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Model:
    """Makes what ``agent.config`` is: a Struct, a dataclass, a TypedDict, a pydantic model, or
    with None a plain dict.

    Raises:
        CapabilityError: ``hint`` cannot be made of a configuration, which is a JSON object.
    """

    def __init__(self, hint: Any, where: str) -> None:
        self._make: Callable[[bytes], Any] = _plain
        if hint is None:
            return
        adapter = adapter_of(hint, where, "validation")
        if adapter is not None:
            self._make = adapter.validate_json
            return
        schema = schema_of(hint, where)
        if schema.get("type", "object") != "object":
            raise CapabilityError(
                f"{where}: {show(hint)} is not made of named values, which a configuration is"
            )
        self._make = msgspec.json.Decoder(hint).decode

    def make(self, values: Mapping[str, Any]) -> Any:
        """The model's object for ``values``, with which it shares nothing.

        Raises:
            Exception: they do not fit. It may quote them: pass it through ``explain``.
        """
        # By way of JSON, which is what all of the libraries agree on.
        return self._make(_encode(values))


def explain(problem: Any, clean: Callable[[object], str]) -> str:
    """Why a model refused, or a callback, from the exception: what ``clean`` leaves of it, and
    never the values themselves if pydantic refused them."""
    if isinstance(problem, msgspec.ValidationError):
        text = clean(problem)
        if (at := _AT.search(text)) is not None:
            path = at[1].removeprefix(".")
            text = f"{path}: {text[: at.start()]}" if path else text[: at.start()]
    elif _is_pydantics(problem):
        details: list[dict[str, Any]] = problem.errors(
            include_url=False, include_context=False, include_input=False
        )
        rules = [f"{_path(one['loc'])}{one['msg']}" for one in details[:SHOWN]]
        if len(details) > SHOWN:
            rules.append(f"and {len(details) - SHOWN} more")
        text = clean("; ".join(rules))
    else:
        text = clean(f"{type(problem).__name__}: {problem}")
    return shortened(text, LONGEST)


def _is_pydantics(problem: Any) -> bool:
    return type(problem).__module__.partition(".")[0] in PYDANTIC and callable(
        getattr(problem, "errors", None)
    )


def _path(parts: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return f"{path.removeprefix('.')}: " if path else ""
