"""The packs of a mirror, kept few.

Each fetch that brings something adds a pack, and a pack in use costs four descriptors. So the
small ones are joined now and then, as ``git repack --geometric`` does: big ones are left alone,
and what is joined is copied as it is, differences as differences.

Whoever is killed here loses nothing: the old packs go only after the new one is there with all
that they hold, and the next one here removes what was left lying. Others may read meanwhile.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID
from dulwich.pack import Pack, UnpackedObject, iter_sha1, write_pack_data, write_pack_index
from dulwich.repo import Repo

if sys.platform != "win32":
    import fcntl

LIMIT: Final = 32
"""Packs that may be there."""

_UNFINISHED: Final = "joining-"


def tidy(mirror: Repo) -> None:
    """Join the small packs of ``mirror`` if there are more than ``LIMIT``, and let go of the
    descriptors of all. Does nothing while another process is at it.

    Raises:
        OSError: the disk would not let us; all that was there is still there.
    """
    store = mirror.object_store
    if not isinstance(store, DiskObjectStore) or len(_sizes(Path(store.pack_dir))) <= LIMIT:
        return
    # Opened again when they are asked for.
    store.close()
    with _alone(Path(store.path)) as alone:
        if alone:
            _remove_leftovers(Path(store.path), Path(store.pack_dir))
            names = small(_sizes(Path(store.pack_dir)))
            if names:
                _join(store, names)


def small(sizes: dict[str, int]) -> list[str]:
    """Those to join, so that of the others each is at least as big as all smaller ones together.

    What is left is few: each is twice the one before it. What is copied is little: the whole is
    copied only when as much again has come.
    """
    names = sorted(sizes, key=lambda name: (sizes[name], name))
    below = sum(sizes.values())
    while names:
        below -= sizes[names[-1]]
        if sizes[names[-1]] < below:
            break
        names.pop()
    return names


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each complete pack that git was not told to keep."""
    try:
        there = {one.name: one for one in os.scandir(folder)}
    except FileNotFoundError:
        return {}
    return {
        stem: one.stat().st_size
        for name, one in there.items()
        if (stem := name.removesuffix(".pack")) != name
        and f"{stem}.idx" in there
        and f"{stem}.keep" not in there
    }


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """False if another process is here, or if it cannot be told."""
    if sys.platform == "win32":
        yield False
        return
    descriptor = os.open(folder / "joining.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _remove_leftovers(objects: Path, folder: Path) -> None:
    """What was left by somebody who was killed here. Only for who is alone."""
    for one in objects.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(one)
    for index in folder.glob("*.idx"):
        # Whoever makes a pack writes the index last.
        if not index.with_suffix(".pack").exists():
            index.unlink(missing_ok=True)


def _join(store: DiskObjectStore, names: Sequence[str]) -> None:
    """Put one pack in the place of those called ``names``."""
    folder = Path(store.pack_dir)
    wanted: dict[str, set[ObjectID]] = {}
    known: set[ObjectID] = set()
    for name in names:
        with _open(store, name) as pack:
            wanted[name] = set(pack.index) - known
        known |= wanted[name]

    def records() -> Iterator[UnpackedObject]:
        # What is a difference is one to something in the same pack or in one before it.
        for name, ids in wanted.items():
            with _open(store, name) as pack:
                yield from pack.iter_unpacked_subset(ids, convert_ofs_delta=True)

    made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=store.path))
    try:
        with open(made / "pack", "wb") as file:
            entries, checksum = write_pack_data(
                file.write, records(), store.object_format, num_records=len(known)
            )
            _finish(file)
        rows = sorted((id_, offset, crc) for id_, (offset, crc) in entries.items())
        joined = "pack-" + iter_sha1(row[0] for row in rows).decode()
        with open(made / "idx", "wb") as file:
            write_pack_index(file, rows, checksum)
            _finish(file)
        # If there is one that holds just this, it is one of those that were joined.
        if not (folder / f"{joined}.idx").exists():
            os.replace(made / "pack", folder / f"{joined}.pack")
            # Readers take a pack for complete when it has an index.
            os.replace(made / "idx", folder / f"{joined}.idx")
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    finally:
        shutil.rmtree(made)
    for name in names:
        if name != joined:
            # The pack first: an index alone is what the next one here removes.
            for ending in (".pack", ".idx", ".rev", ".bitmap"):
                (folder / f"{name}{ending}").unlink(missing_ok=True)


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fchmod(file.fileno(), 0o444)
    os.fsync(file.fileno())


@contextmanager
def _open(store: DiskObjectStore, name: str) -> Iterator[Pack]:
    with closing(Pack(f"{store.pack_dir}/{name}", object_format=store.object_format)) as pack:
        yield pack
