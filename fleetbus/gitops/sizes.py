"""How big a stored object is, told without unpacking it: a small pack can hold gigabytes."""

from __future__ import annotations

import zlib
from typing import Final

from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID
from dulwich.pack import PackFileDisappeared

_HEAD: Final = 4096
"""Bytes that are looked at; what is wanted is in the first hundred."""
_OFFSET_DELTA: Final = 6
_NAMED_DELTA: Final = 7


def size(store: DiskObjectStore, id_: ObjectID) -> int | None:
    """Bytes of the object; None if it is not among what the repository itself stores, or was
    being moved from one pack to another.

    Raises:
        ValueError: what is stored is damaged.
    """
    try:
        for pack in store.packs:
            try:
                offset = pack.index.object_offset(id_)
            except KeyError:
                continue
            with open(pack.data.path, "rb") as file:
                file.seek(offset)
                return _packed(file.read(_HEAD), len(id_) // 2)
        name = id_.decode()
        with open(f"{store.path}/{name[:2]}/{name[2:]}", "rb") as file:
            return _loose(file.read(_HEAD))
    except (FileNotFoundError, PackFileDisappeared):
        return None
    except (zlib.error, IndexError) as error:
        raise ValueError(f"its head is damaged: {error}") from None


def _loose(head: bytes) -> int:
    """``blob 123`` and a zero, compressed, come first."""
    text = zlib.decompressobj().decompress(head, 64)
    return int(text.partition(b"\0")[0].partition(b" ")[2])


def _packed(head: bytes, digest: int) -> int:
    kind = head[0] >> 4 & 7
    number, at = _number(head, 0)
    # Four bits of the first byte are of the size, three of the kind.
    length = (number & 0xF) | (number >> 7 << 4)
    if kind == _OFFSET_DELTA:
        while head[at] & 0x80:
            at += 1
        at += 1
    elif kind == _NAMED_DELTA:
        at += digest
    else:
        return length
    # A delta begins with the size of what it is applied to, and of what comes of it.
    delta = zlib.decompressobj().decompress(head[at:], 32)
    _, at = _number(delta, 0)
    return _number(delta, at)[0]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
