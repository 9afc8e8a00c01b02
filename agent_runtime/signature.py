"""A function's signature as the contract of a capability.

Everything is worked out once, when the function is offered: decoders for its parameters and
its result, and their JSON Schema. ``bind`` and ``encode`` are on the task path.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from agent_runtime.faults import invalid, invalid_foreign
from agent_runtime.hints import Hints, function_of, is_task_class, parameters_of
from agent_runtime.returns import Kind, Output, kind_of, output_of
from agent_runtime.schemas import adapter_of, embed, flat, holds_octets, schema_of
from bus.errors import CapabilityError, InvalidInput
from bus.wire import headers as h

__all__ = ["Interface", "Kind", "Parameter", "inspect_handler"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that comes from the input."""

    name: str
    hint: Any
    required: bool
    default: Any
    foreign: Any
    """A pydantic TypeAdapter, where msgspec does not know the type."""
    octets: bool
    """Takes a payload that is not JSON."""
    alone: "msgspec.json.Decoder[Any]"
    """Decodes an input that is this parameter and not an object of parameters."""


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """What a handler takes and gives. Made by ``inspect_handler``."""

    kind: Kind
    wants_task: bool
    """The first parameter is the Task, passed by position."""
    input_schema: dict[str, Any]
    """Of the object of parameters."""
    output_schema: dict[str, Any]
    """Of the result; a generator's is its last item, or null if it yields none."""
    progress_schema: dict[str, Any] | None
    """Of each item, if it is a generator."""
    parameters: tuple[Parameter, ...]
    _decode: "Callable[[bytes], Any]" = field(repr=False)
    _output: Output = field(repr=False)
    _plain: bool = field(repr=False)
    """All parameters are msgspec's own: nothing to look at one by one."""
    _taker: Parameter | None = field(repr=False)
    """Takes a payload that is not JSON; None if there is not just one that could, or another
    one is required."""

    def bind(self, payload: bytes, content_type: str) -> dict[str, Any]:
        """The handler's keyword arguments.

        A JSON object gives parameters by name, any other JSON value the sole required
        parameter (or the only one), and a payload that is not JSON the sole one of type bytes.
        An empty JSON payload gives none. What is not given has the handler's default.

        Raises:
            InvalidInput: naming the field at fault.
        """
        prefix = ""
        try:
            if content_type == h.OCTETS or not _is_json(content_type):
                return self._octets(payload)
            text = payload.lstrip() if payload[:1] in _BLANK else payload
            if not text or text[:1] == b"{":
                found = self._decode(text or b"{}")
                arguments: dict[str, Any] = msgspec.structs.asdict(found)
                return arguments if self._plain else self._adapted(arguments)
            parameter = self._candidate()
            prefix = parameter.name
            return self._adapted({prefix: parameter.alone.decode(text)})
        except (InvalidInput, MemoryError):
            raise
        except Exception as problem:  # a handler's own types may raise anything
            raise invalid(problem, prefix, [one.name for one in self.parameters]) from problem

    def encode(self, value: object) -> tuple[bytes, str]:
        """A returned value as body and content type: bytes as they are, the rest as JSON.

        Raises:
            CapabilityError: it is not what the handler's return type promises, or not JSON.
        """
        return self._output.encode(value)

    def _octets(self, payload: bytes) -> dict[str, Any]:
        if self._taker is None:
            others = [one.name for one in self.parameters if one.required and not one.octets]
            raise InvalidInput(
                others[0] if others else "",
                "octets need exactly one parameter of type bytes and no other that is required; "
                "send JSON, bytes in base64",
            )
        return {self._taker.name: _convert(payload, self._taker)}

    def _candidate(self) -> Parameter:
        required = [one for one in self.parameters if one.required]
        candidates = required or self.parameters
        if len(candidates) != 1:
            names = ", ".join(one.name for one in self.parameters) or "none"
            raise InvalidInput(
                "", f"must be a JSON object of parameters ({names}), since there is not just one"
            )
        return candidates[0]

    def _adapted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        for one in self.parameters:
            value = arguments.get(one.name)
            # Anything but Raw is the handler's own default.
            if one.foreign is not None and type(value) is msgspec.Raw:
                try:
                    arguments[one.name] = one.foreign.validate_json(bytes(value))
                except MemoryError:
                    raise
                except Exception as problem:  # a model's validators may raise anything
                    raise invalid_foreign(problem, one.name) from problem
        return arguments


def inspect_handler(handler: Callable[..., Any]) -> Interface:
    """Work out what ``handler`` takes and gives.

    Raises:
        CapabilityError: it cannot be offered; names the function, the parameter, the rule.
    """
    name = getattr(handler, "__qualname__", repr(handler))
    if not callable(handler) or inspect.isclass(handler):
        raise CapabilityError(f"{name}: offer a function, not {type(handler).__name__}")
    function = function_of(handler)
    hints = Hints(function, name)
    listed = parameters_of(handler, name)
    wants_task = bool(listed) and hints.is_task(listed[0])
    if wants_task and listed[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise CapabilityError(
            f"{name}: parameter {listed[0].name} is the Task, which is passed by position: "
            "put it before the *"
        )
    parameters = tuple(_parameter(one, hints, name) for one in listed[wants_task:])
    input_schema, decode = _input(parameters, name)
    kind = kind_of(function)
    output = output_of(kind, hints, name)
    streams = kind in (Kind.STREAM, Kind.SYNC_STREAM)
    return Interface(
        kind=kind,
        wants_task=wants_task,
        input_schema=input_schema,
        output_schema=output.schema,
        progress_schema=output.schema if streams else None,
        parameters=parameters,
        _decode=decode,
        _output=output,
        _plain=all(one.foreign is None for one in parameters),
        _taker=_taker(parameters),
    )


def _parameter(one: inspect.Parameter, hints: Hints, name: str) -> Parameter:
    where = f"{name}: parameter {one.name}"
    if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
        star = "*" if one.kind is one.VAR_POSITIONAL else "**"
        raise CapabilityError(f"{name}: {star}{one.name} has no schema: name each parameter")
    if one.kind is one.POSITIONAL_ONLY:
        raise CapabilityError(f"{where} is positional-only, but inputs come by name: remove the /")
    hint = hints.of(one.name)
    if is_task_class(hint):
        raise CapabilityError(f"{where} is the Task: make it the first parameter")
    foreign = adapter_of(hint, where, "validation")
    if foreign is None:
        schema_of(hint, where)
    return Parameter(
        name=one.name,
        hint=hint,
        required=one.default is one.empty,
        default=one.default,
        foreign=foreign,
        octets=hint is Any or holds_octets(hint),
        alone=msgspec.json.Decoder(msgspec.Raw if foreign is not None else hint),
    )


def _input(
    parameters: tuple[Parameter, ...], name: str
) -> tuple[dict[str, Any], Callable[[bytes], Any]]:
    fields: list[Any] = []
    for one in parameters:
        hint: Any = msgspec.Raw if one.foreign is not None else one.hint
        fields.append((one.name, hint) if one.required else (one.name, hint, _default(one.default)))
    try:
        struct = msgspec.defstruct("Input", fields, forbid_unknown_fields=True, kw_only=True)
        schema = flat(msgspec.json.schema(struct))
        decode = msgspec.json.Decoder(struct).decode
    except (TypeError, ValueError) as problem:
        raise CapabilityError(f"{name}: its parameters cannot come from JSON: {problem}") from None
    properties = schema.setdefault("properties", {})
    for one in parameters:
        if one.foreign is not None:
            embed(schema, one.name, one.foreign)
        properties[one.name].pop("default", None)
        if not one.required:
            try:
                properties[one.name]["default"] = msgspec.to_builtins(one.default, str_keys=True)
            except Exception:  # a default that JSON cannot say is the handler's own affair
                continue
    schema.pop("title", None)
    return schema, decode


def _default(value: Any) -> Any:
    """A field's default that is the handler's own object, as in a call; msgspec would refuse
    some and copy others."""
    return msgspec.field(default_factory=lambda: value)


def _taker(parameters: tuple[Parameter, ...]) -> Parameter | None:
    takers = [one for one in parameters if one.octets]
    needed = any(one.required and not one.octets for one in parameters)
    return takers[0] if len(takers) == 1 and not needed else None


def _convert(payload: bytes, parameter: Parameter) -> Any:
    """Octets as what the parameter wants, its length constraints held."""
    if parameter.hint is bytes or parameter.hint is Any:
        return payload
    try:
        return msgspec.convert(payload, parameter.hint)
    except msgspec.ValidationError as problem:
        raise invalid(problem, parameter.name, ()) from None


def _is_json(content_type: str) -> bool:
    if content_type == h.JSON:
        return True
    media = content_type.partition(";")[0].strip().lower()
    return media in ("", h.JSON) or media.endswith("+json")


_BLANK: Final = (b" ", b"\t", b"\r", b"\n")
