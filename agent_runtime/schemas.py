"""JSON Schema (2020-12) of types, and which library has to read them.

pydantic is never imported here: it costs an agent tens of megabytes. A type can only be
pydantic's if the handler's own module has imported it, and is then found in ``sys.modules``.
"""

import dataclasses
import inspect
import sys
import typing
from typing import Any, Final, Literal

import msgspec

from bus.errors import CapabilityError
from bus.wire import headers as h

Mode = Literal["validation", "serialization"]
BYTES: Final = (bytes, bytearray, memoryview)
PYDANTIC: Final = ("pydantic", "pydantic_core", "pydantic_extra_types", "annotated_types")
CARRIED: Final = (
    "use a msgspec Struct, a dataclass, a pydantic model, a TypedDict, or builtins that JSON has"
)


def adapter_of(hint: Any, where: str, mode: Mode) -> Any:
    """A pydantic ``TypeAdapter`` if ``hint`` is pydantic's to read, None if it is msgspec's.

    Raises:
        CapabilityError: it needs both, or pydantic cannot read it.
    """
    readers = _readers(hint, {})
    if "pydantic" not in readers:
        return None
    if "msgspec" in readers:
        raise CapabilityError(
            f"{where}: {show(hint)} mixes pydantic and msgspec, and neither reads the other's "
            "types: make all of it pydantic models or all of it Structs"
        )
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        raise CapabilityError(
            f"{where}: {show(hint)} has a constraint that only pydantic checks: "
            "use msgspec.Meta, or import pydantic"
        )
    try:
        adapter = pydantic.TypeAdapter(hint)
        adapter.json_schema(mode=mode)
    except Exception as problem:  # models may run code of their own here
        raise CapabilityError(f"{where}: pydantic cannot read {show(hint)}: {problem}") from None
    return adapter


def schema_of(hint: Any, where: str) -> dict[str, Any]:
    """The schema of a type that msgspec reads.

    Raises:
        CapabilityError: JSON cannot carry it.
    """
    try:
        return flat(msgspec.json.schema(hint))
    except Exception as problem:  # msgspec resolves the hints of nested classes, which may fail
        reason = " ".join(str(problem).split())
        if "custom types" in reason:
            reason = "it is a class of its own"
        raise CapabilityError(
            f"{where}: {show(hint)} cannot come from JSON ({reason}): {CARRIED}"
        ) from None


def foreign_schema(adapter: Any, mode: Mode) -> dict[str, Any]:
    """The schema of a type that pydantic reads."""
    schema: dict[str, Any] = adapter.json_schema(mode=mode, ref_template="#/$defs/{model}")
    return flat(schema)


def embed(schema: dict[str, Any], name: str, adapter: Any) -> None:
    """Make pydantic's schema that of property ``name``. Definitions that bear the name of
    different ones are renamed."""
    definitions: dict[str, Any] = schema.get("$defs", {})
    own: dict[str, Any] = {}
    renamed: dict[str, Any] = {}
    for prefix in ("", f"{name}."):
        own = adapter.json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        renamed = {prefix + key: value for key, value in own.pop("$defs", {}).items()}
        if all(definitions.get(key, value) == value for key, value in renamed.items()):
            break
    schema["properties"][name] = own
    if renamed:
        schema["$defs"] = {**definitions, **renamed}


def flat(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose top is the type itself and not a reference to it."""
    reference = schema.get("$ref", "")
    definitions = dict(schema.get("$defs", {}))
    if not reference.startswith("#/$defs/"):
        return schema
    top = dict(definitions.pop(reference.removeprefix("#/$defs/")))
    if f'"{reference}"' in msgspec.json.encode([top, definitions]).decode():
        return schema  # it refers to itself
    if definitions:
        top["$defs"] = definitions
    return top


def octets(schema: dict[str, Any]) -> dict[str, Any]:
    """A result's schema in which bytes are octets, as results carry them, and not base64."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [octets(one) for one in schema["anyOf"]]}
    if "contentEncoding" not in schema:
        return schema
    return {"type": "string", "contentMediaType": h.OCTETS}


def holds_octets(hint: Any) -> bool:
    """Whether a value of ``hint`` can be bytes as such: bytes, constrained or in a union."""
    if typing.get_origin(hint) is typing.Annotated:
        return holds_octets(typing.get_args(hint)[0])
    return hint in BYTES or (
        _is_union(hint) and any(holds_octets(one) for one in typing.get_args(hint))
    )


def show(hint: Any) -> str:
    """A hint as a person would write it."""
    is_name = inspect.isclass(hint) and typing.get_origin(hint) is None
    return hint.__qualname__ if is_name else str(hint).replace("typing.", "")


def _is_union(hint: Any) -> bool:
    # Optional[int] and int | None have different origins before Python 3.14.
    return typing.get_origin(hint) in (typing.Union, type(int | str))


def _readers(hint: Any, seen: dict[int, Any]) -> set[str]:
    """The libraries that ``hint`` or anything within it belongs to."""
    if id(hint) in seen:
        return set()
    seen[id(hint)] = hint  # kept, or another hint could get its id
    if inspect.isclass(hint) and typing.get_origin(hint) is None:
        return _class_readers(hint, seen)
    found: set[str] = set()
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta):
            found.add("msgspec")
        elif _is_pydantic(type(meta)):
            found.add("pydantic")
    # NewType and `type X = …` hide what they stand for.
    hidden = (getattr(hint, name, None) for name in ("__supertype__", "__value__"))
    inner = [*typing.get_args(hint), typing.get_origin(hint), *hidden]
    return found.union(*(_readers(one, seen) for one in inner if one is not None))


def _class_readers(hint: type, seen: dict[int, Any]) -> set[str]:
    if _is_pydantic(hint):
        return {"pydantic"}
    is_struct = issubclass(hint, msgspec.Struct)
    found = {"msgspec"} if is_struct else set()
    if is_struct or dataclasses.is_dataclass(hint) or hasattr(hint, "__annotations__"):
        try:
            fields = typing.get_type_hints(hint, include_extras=True)
        except Exception:  # whoever builds the decoder says what is wrong with it
            return found
        found = found.union(*(_readers(one, seen) for one in fields.values()))
    return found


def _is_pydantic(cls: type) -> bool:
    return (
        cls.__module__.partition(".")[0] in PYDANTIC
        or hasattr(cls, "__pydantic_validator__")
        or hasattr(cls, "__get_pydantic_core_schema__")
    )
