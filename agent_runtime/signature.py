"""A function's signature as the contract of a capability.

Everything is worked out once, when the function is offered: a msgspec decoder for its
parameters and their JSON Schema. ``bind`` and ``encode`` are on the task path.

pydantic is never imported here: a type can only be a pydantic model if the handler's own
module has imported pydantic, and is then found in ``sys.modules``.
"""

import inspect
import re
import sys
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

import msgspec

from bus.errors import CapabilityError, InvalidInput
from bus.wire import headers as h

TASK_CLASS: Final = "agent_runtime.task.Task"


class Kind(Enum):
    """How a handler is run."""

    ASYNC = auto()
    SYNC = auto()
    STREAM = auto()
    """An async generator: each item is progress, the last one is the result."""
    SYNC_STREAM = auto()


@dataclass(slots=True)
class Parameter:
    """One parameter that comes from the input."""

    name: str
    hint: Any
    required: bool
    default: Any = None
    foreign: Any = None
    """A pydantic TypeAdapter, where msgspec does not know the type."""
    alone: "msgspec.json.Decoder[Any] | None" = None
    """Decodes an input that is this parameter and not an object of parameters."""


@dataclass(slots=True)
class Interface:
    """What a handler takes and gives. Made by ``inspect_handler``."""

    kind: Kind
    wants_task: bool
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    parameters: tuple[Parameter, ...]
    _decoder: "msgspec.json.Decoder[Any]" = field(repr=False)
    _names: tuple[str, ...] = ()
    _plain: bool = True
    """All parameters are required and msgspec's own: nothing to look at one by one."""

    def bind(self, payload: bytes, content_type: str) -> dict[str, Any]:
        """The handler's keyword arguments.

        A JSON object gives parameters by name, any other JSON value the sole parameter, and
        octets the sole one of type bytes. An empty payload gives none.

        Raises:
            InvalidInput: naming the field at fault.
        """
        if content_type == h.OCTETS:
            return self._octets(payload)
        text = payload.lstrip() if payload[:1] in b" \t\r\n" else payload
        if text and text[:1] != b"{":
            return self._sole(text)
        try:
            found = self._decoder.decode(text or b"{}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            raise self._invalid(problem) from None
        if self._plain:
            return {name: getattr(found, name) for name in self._names}
        arguments: dict[str, Any] = {}
        for parameter in self.parameters:
            value = getattr(found, parameter.name)
            if value is not msgspec.UNSET:
                arguments[parameter.name] = _adapt(parameter, value)
        return arguments

    def encode(self, value: object) -> tuple[bytes, str]:
        """A returned value as body and content type: bytes as they are, the rest as JSON.

        Raises:
            CapabilityError: the value cannot be JSON.
        """
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value), h.OCTETS
        try:
            return _encode(value), h.JSON
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as problem:
            raise CapabilityError(
                f"the returned {type(value).__name__} cannot be JSON: {problem}"
            ) from None

    def _octets(self, payload: bytes) -> dict[str, Any]:
        takers = [p for p in self.parameters if p.hint in (bytes, bytearray, Any)]
        others = [p.name for p in self.parameters if p.required and p not in takers]
        if len(takers) != 1 or others:
            raise InvalidInput(
                others[0] if others else "",
                "octets need exactly one parameter of type bytes and no other that is required; "
                "send JSON, bytes in base64",
            )
        return {takers[0].name: payload}

    def _sole(self, text: bytes) -> dict[str, Any]:
        required = [p for p in self.parameters if p.required]
        candidates = required or list(self.parameters)
        if len(candidates) != 1:
            names = ", ".join(self._names) or "none"
            raise InvalidInput(
                "", f"must be a JSON object of parameters ({names}), since there is not just one"
            )
        parameter = candidates[0]
        try:
            value = (parameter.alone or _RAW).decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            error = self._invalid(problem)
            path = f"{parameter.name}.{error.field}" if error.field else parameter.name
            raise InvalidInput(path.replace(".[", "["), error.problem) from None
        return {parameter.name: _adapt(parameter, value)}

    def _invalid(self, problem: Exception) -> InvalidInput:
        text = str(problem)
        unknown = _UNKNOWN.search(text)
        missing = _MISSING.search(text)
        at = _AT.search(text)
        path = at[1].lstrip(".") if at else ""
        text = _AT.sub("", text)
        if unknown is not None:
            path = f"{path}.{unknown[1]}" if path else unknown[1]
            known = ", ".join(self._names) or "none"
            return InvalidInput(path, f"there is no such parameter; known are {known}")
        if missing is not None:
            path = f"{path}.{missing[1]}" if path else missing[1]
            return InvalidInput(path, "is required and missing")
        return InvalidInput(path, text)


_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]*)`")
_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`")
_AT: Final = re.compile(r" - at `\$([^`]*)`")
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)


def inspect_handler(handler: Callable[..., Any]) -> Interface:
    """Work out what ``handler`` takes and gives.

    Raises:
        CapabilityError: it cannot be offered; names the function, the parameter, the rule.
    """
    name = getattr(handler, "__qualname__", repr(handler))
    if not callable(handler) or inspect.isclass(handler):
        raise CapabilityError(f"{name}: offer a function, not {type(handler).__name__}")
    hints = _hints(handler, name)
    listed = list(inspect.signature(handler).parameters.values())
    wants_task = bool(listed) and _is_task(listed[0], hints)
    parameters = tuple(_parameter(one, hints, name) for one in listed[wants_task:])
    input_schema, decoder = _input(parameters, name)
    return Interface(
        kind=_kind(handler),
        wants_task=wants_task,
        input_schema=input_schema,
        output_schema=_output_schema(handler, hints),
        parameters=parameters,
        _decoder=decoder,
        _names=tuple(one.name for one in parameters),
        _plain=all(one.required and one.foreign is None for one in parameters),
    )


def _function(handler: Callable[..., Any]) -> Any:
    """The function behind decorators and callable objects."""
    return inspect.unwrap(handler if inspect.isroutine(handler) else type(handler).__call__)


def _kind(handler: Callable[..., Any]) -> Kind:
    function = _function(handler)
    if inspect.isasyncgenfunction(function):
        return Kind.STREAM
    if inspect.isgeneratorfunction(function):
        return Kind.SYNC_STREAM
    return Kind.ASYNC if inspect.iscoroutinefunction(function) else Kind.SYNC


def _hints(handler: Callable[..., Any], name: str) -> dict[str, Any]:
    function = _function(handler)
    try:
        # A handler may use types of the function that it is defined in.
        local = dict(inspect.getclosurevars(function).nonlocals)
    except TypeError:
        local = {}
    try:
        return typing.get_type_hints(function, localns=local, include_extras=True)
    except (NameError, TypeError, SyntaxError) as problem:
        raise CapabilityError(
            f"{name}: a type hint cannot be resolved ({problem}): "
            "define the type at module level, or leave out 'from __future__ import annotations'"
        ) from None


def _is_task(first: inspect.Parameter, hints: dict[str, Any]) -> bool:
    hint = hints.get(first.name)
    if inspect.isclass(hint) and f"{hint.__module__}.{hint.__qualname__}" == TASK_CLASS:
        return True
    return first.name == "task" and first.annotation is inspect.Parameter.empty


def _parameter(one: inspect.Parameter, hints: dict[str, Any], name: str) -> Parameter:
    if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
        star = "*" if one.kind is one.VAR_POSITIONAL else "**"
        raise CapabilityError(f"{name}: {star}{one.name} has no schema; name each parameter")
    if one.kind is one.POSITIONAL_ONLY:
        raise CapabilityError(
            f"{name}: parameter {one.name} is positional-only, but inputs come by name"
        )
    hint = hints.get(one.name, Any)
    required = one.default is one.empty
    parameter = Parameter(one.name, hint, required, None if required else one.default)
    if _has_pydantic(hint):
        parameter.foreign = sys.modules["pydantic"].TypeAdapter(hint)
        return parameter
    try:
        parameter.alone = msgspec.json.Decoder(hint)
    except (TypeError, msgspec.MsgspecError) as problem:
        raise CapabilityError(
            f"{name}: parameter {one.name} has a type that cannot come from JSON: {problem}"
        ) from None
    return parameter


def _has_pydantic(hint: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return False
    if inspect.isclass(hint) and issubclass(hint, pydantic.BaseModel):
        return True
    return any(_has_pydantic(argument) for argument in typing.get_args(hint))


def _adapt(parameter: Parameter, value: Any) -> Any:
    if parameter.foreign is None:
        return value
    try:
        return parameter.foreign.validate_json(bytes(value))
    except ValueError as problem:  # pydantic.ValidationError is one
        errors = getattr(problem, "errors", None)
        details: list[dict[str, Any]] = errors(include_url=False) if errors else []
        if not details:
            raise InvalidInput(parameter.name, str(problem)) from None
        path = parameter.name + "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in details[0]["loc"]
        )
        raise InvalidInput(path, str(details[0]["msg"])) from None


def _input(
    parameters: tuple[Parameter, ...], name: str
) -> tuple[dict[str, Any], "msgspec.json.Decoder[Any]"]:
    fields: list[Any] = []
    for one in parameters:
        hint: Any = msgspec.Raw if one.foreign is not None else one.hint
        if one.required:
            fields.append((one.name, hint))
        else:
            # Unset, not the default: the handler's own default is the one that counts.
            fields.append((one.name, hint | msgspec.UnsetType if hint is not Any else Any, _UNSET))
    try:
        struct = msgspec.defstruct("Input", fields, forbid_unknown_fields=True, kw_only=True)
        decoder = msgspec.json.Decoder(struct)
        schema = _flat(msgspec.json.schema(struct))
    except (TypeError, msgspec.MsgspecError) as problem:
        raise CapabilityError(f"{name}: its parameters cannot come from JSON: {problem}") from None
    properties = schema.setdefault("properties", {})
    for one in parameters:
        if one.foreign is not None:
            own = one.foreign.json_schema(ref_template="#/$defs/{model}")
            schema.setdefault("$defs", {}).update(own.pop("$defs", {}))
            properties[one.name] = own
        if not one.required:
            try:
                properties[one.name]["default"] = msgspec.to_builtins(one.default)
            except (TypeError, ValueError, KeyError):
                continue  # a default that JSON cannot say is the handler's own affair
    schema.pop("title", None)
    return schema, decoder


_UNSET: Final = msgspec.UNSET


def _output_schema(handler: Callable[..., Any], hints: dict[str, Any]) -> dict[str, Any]:
    hint = hints.get("return", Any)
    if _kind(handler) in (Kind.STREAM, Kind.SYNC_STREAM):
        arguments = typing.get_args(hint)
        hint = arguments[0] if arguments else Any
    if hint is None:
        hint = type(None)
    if hint in (bytes, bytearray, memoryview):
        return {"type": "string", "contentMediaType": h.OCTETS}
    if hint is Any or hint in (AsyncIterator, Iterator):
        return {}
    if _has_pydantic(hint):
        adapter = sys.modules["pydantic"].TypeAdapter(hint)
        schema: dict[str, Any] = adapter.json_schema(ref_template="#/$defs/{model}")
        return schema
    try:
        return _flat(msgspec.json.schema(hint))
    except (TypeError, msgspec.MsgspecError):
        # It may still be encodable; a missing schema is no reason to refuse the function.
        return {}


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose top is the type itself and not a reference to it."""
    reference = schema.get("$ref", "")
    definitions = dict(schema.get("$defs", {}))
    if not reference.startswith("#/$defs/"):
        return schema
    top = dict(definitions.pop(reference.rsplit("/", 1)[1]))
    if f'"{reference}"' in msgspec.json.encode([top, definitions]).decode():
        return schema  # it refers to itself
    if definitions:
        top["$defs"] = definitions
    return top


def _foreign(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"no JSON form of {type(value).__name__}")
    return dump(mode="json")


_encode: Final = msgspec.json.Encoder(enc_hook=_foreign).encode
