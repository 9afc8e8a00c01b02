"""How a handler is run, and what it gives: its result as body, content type and schema."""

import inspect
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import msgspec

from agent_runtime.faults import shortened
from agent_runtime.hints import Hints
from agent_runtime.schemas import (
    BYTES,
    adapter_of,
    foreign_schema,
    holds_octets,
    octets,
    schema_of,
    show,
)
from bus.errors import CapabilityError
from bus.wire import headers as h


class Kind(Enum):
    """How a handler is run."""

    ASYNC = auto()
    SYNC = auto()
    STREAM = auto()
    """An async generator: each item is progress, the last one is the result."""
    SYNC_STREAM = auto()


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a handler returns, or yields."""

    where: str
    hint: Any
    schema: dict[str, Any]
    foreign: Any
    octets: bool
    exact: "type | None"
    """Values of just this type fit as they are."""
    check: "Callable[[bytes], Any] | None"
    """Decodes what was encoded, to see whether it is what was promised."""

    def encode(self, value: object) -> tuple[bytes, str]:
        """See ``Interface.encode``."""
        try:
            if isinstance(value, BYTES):
                if not self.octets:
                    raise TypeError("bytes were not promised")
                return bytes(value), h.OCTETS
            if self.foreign is not None:
                # Its warnings are values that its own schema forbids.
                return self.foreign.dump_json(value, by_alias=True, warnings="error"), h.JSON
            body = to_json(value)
            if self.check is not None and type(value) is not self.exact:
                self.check(body)
            return body, h.JSON
        except MemoryError:
            raise
        except Exception as problem:  # a value's own methods may raise anything
            raise CapabilityError(
                f"{self.where}: the returned {type(value).__name__} does not fit "
                f"{show(self.hint)}: {shortened(problem)}"
            ) from problem


def kind_of(function: Any) -> Kind:
    """How the function behind a handler is run."""
    if inspect.isasyncgenfunction(function):
        return Kind.STREAM
    if inspect.isgeneratorfunction(function):
        return Kind.SYNC_STREAM
    return Kind.ASYNC if inspect.iscoroutinefunction(function) else Kind.SYNC


def output_of(kind: Kind, hints: Hints, name: str) -> Output:
    """What a handler gives, from the hint of its return.

    Raises:
        CapabilityError: no value of it can be a result.
    """
    where = f"{name}: the return type"
    hint = hints.of("return")
    origin = typing.get_origin(hint) or hint
    streams = kind in (Kind.STREAM, Kind.SYNC_STREAM)
    if streams and hint is not Any:
        if origin not in _ITEMS:
            raise CapabilityError(
                f"{where} of a generator is {show(hint)}: annotate it as "
                f"{'AsyncIterator' if kind is Kind.STREAM else 'Iterator'}[…]"
            )
        hint = (*typing.get_args(hint), Any)[0]
    elif origin in _NEVER_JSON:
        raise CapabilityError(
            f"{where} is {show(hint)}, which JSON cannot carry: return a list, or yield the items"
        )
    foreign = adapter_of(hint, where, "serialization")
    check: Callable[[bytes], Any] | None = None
    if foreign is not None:
        schema = foreign_schema(foreign, "serialization")
    else:
        try:
            schema = octets(schema_of(hint, where))
        except CapabilityError:
            # Its values may still be encodable; a missing schema is no reason to refuse it.
            hint, schema = Any, {}
        if hint is not Any:
            # A generator that yields nothing has no result.
            check = msgspec.json.Decoder(hint | None if streams else hint).decode
    return Output(
        where=name,
        hint=hint,
        schema=schema,
        foreign=foreign,
        octets=hint is Any or holds_octets(hint),
        exact=hint if hint in (str, int, bool, type(None)) else None,
        check=check,
    )


def _foreign(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"no JSON form of {type(value).__name__}")
    return dump(mode="json", warnings="error")


to_json: Final = msgspec.json.Encoder(enc_hook=_foreign).encode
"""Any value that has a JSON form, pydantic's too."""
_ITEMS: Final = (AsyncIterator, AsyncGenerator, AsyncIterable, Iterator, Generator, Iterable)
_NEVER_JSON: Final = (
    AsyncIterator,
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Coroutine,
    Iterator,
    Generator,
)
