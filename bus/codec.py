"""JSON bodies to Structs and back: one cached encoder, one cached decoder a type."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from bus.errors import DecodeError

T = TypeVar("T")

MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes. No body of the protocol itself comes near this; a task's payload may exceed it."""

encode = msgspec.json.Encoder().encode
"""Struct (or any JSON value) to bytes."""


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


def decode(kind: type[T], data: bytes, what: str = "", limit: int | None = MAX_BODY) -> T:
    """Bytes to a ``kind``; no more than ``limit`` of them, if that is not None.

    Raises:
        DecodeError: naming ``what`` (by default the type) and the field at fault.
    """
    if limit is not None and len(data) > limit:
        raise DecodeError(what or kind.__name__, f"{len(data)} bytes, more than {limit}")
    try:
        value: T = _decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise DecodeError(what or kind.__name__, str(problem)) from None
    return value
