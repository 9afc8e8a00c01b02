"""What layers make together, and the hash by which two of the same kind are told to be equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

DIGITS: Final = 16
"""Hex digits of a hash: 64 bits, enough to tell configurations apart and short in a heartbeat."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All ``layers`` in one, the later ones winning. Pure; shares nothing with them but lists.

    Each is laid over those before it as a JSON Merge Patch (RFC 7396): mappings are merged,
    everything else is replaced, lists too, and ``None`` removes.
    """
    made: dict[str, Any] = {}
    for layer in layers:
        _lay(made, layer)
    return made


def _lay(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, Mapping):
            below = base.get(key)
            if not isinstance(below, dict):
                below = base[key] = {}
            _lay(below, value)
        else:
            base[key] = value


def canonical(values: Any) -> bytes:
    """``values`` as JSON with sorted keys, without blanks, in UTF-8: the same for those that are
    the same configuration. Unlike for ``==``, 1, 1.0 and true differ."""
    return _encode(values)


def digest(values: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of ``values`` as ``canonical`` writes them."""
    return hashlib.sha256(canonical(values)).hexdigest()[:DIGITS]
