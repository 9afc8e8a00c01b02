"""tests/wire_vectors is the protocol, byte for byte; whoever speaks it is held to these files.

A vector that has to change is a change of the protocol: other versions and other languages are
out there already. A new field gets a default and a value in the case ``every field``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import bus.wire
from bus import codec
from bus.errors import DecodeError
from bus.wire import headers as h

VECTORS = Path(__file__).resolve().parents[1] / "wire_vectors"


def structs() -> dict[str, type[msgspec.Struct]]:
    """Every struct that is defined in ``bus.wire``, by name."""
    found: dict[str, type[msgspec.Struct]] = {}
    for module in pkgutil.iter_modules(bus.wire.__path__):
        name = f"bus.wire.{module.name}"
        for one in vars(importlib.import_module(name)).values():
            if inspect.isclass(one) and issubclass(one, msgspec.Struct) and one.__module__ == name:
                found[one.__name__] = one
    return found


STRUCTS = structs()


def read(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


CASES = [
    pytest.param(STRUCTS[name], case, id=f"{name}, {title}")
    for name in sorted(STRUCTS)
    if (VECTORS / f"{name}.json").is_file()
    for title, case in read(name)["cases"].items()
]


def test_every_struct_has_a_vector_and_the_other_way_round() -> None:
    files = {path.stem for path in VECTORS.glob("*.json")}
    assert files == {*STRUCTS, "headers"}
    assert all(read(name)["struct"] == name for name in STRUCTS)


@pytest.mark.parametrize(("struct", "case"), CASES)
def test_value_encodes_to_the_vector(struct: type[msgspec.Struct], case: dict[str, Any]) -> None:
    # Only what is sent: a field that is given its default by hand may be sent or not.
    given = {name: case["value"][name] for name in json.loads(case["encoded"])}
    value = msgspec.convert(given, struct)
    assert codec.encode(value).decode() == case["encoded"]


@pytest.mark.parametrize(("struct", "case"), CASES)
def test_vector_decodes_to_the_value(struct: type[msgspec.Struct], case: dict[str, Any]) -> None:
    value = codec.decode(struct, case["encoded"].encode())
    # Each field by itself, because encoding the whole leaves out defaults.
    found = {f.encode_name: getattr(value, f.name) for f in msgspec.structs.fields(struct)}
    assert json.loads(codec.encode(found)) == case["value"]


@pytest.mark.parametrize(("struct", "case"), CASES)
def test_fields_of_a_later_version_are_ignored(
    struct: type[msgspec.Struct], case: dict[str, Any]
) -> None:
    later = {"from_a_later_version": {"x": [1, None]}, **json.loads(case["encoded"])}
    value = codec.decode(struct, json.dumps(later).encode())
    assert value == codec.decode(struct, case["encoded"].encode())


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_one_case_has_every_field_with_another_value_than_its_default(name: str) -> None:
    struct = STRUCTS[name]
    sent = json.loads(read(name)["cases"]["every field"]["encoded"])
    assert set(sent) == {field.encode_name for field in msgspec.structs.fields(struct)}


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_what_an_earlier_version_does_not_send_has_a_default(name: str) -> None:
    struct = STRUCTS[name]
    sent = json.loads(read(name)["cases"]["every field"]["encoded"])
    for field in msgspec.structs.fields(struct):
        left = {key: value for key, value in sent.items() if key != field.encode_name}
        if field.required:
            with pytest.raises(DecodeError, match=f"missing required field `{field.encode_name}`"):
                codec.decode(struct, json.dumps(left).encode())
        else:
            default = (
                field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            )
            value = codec.decode(struct, json.dumps(left).encode())
            assert getattr(value, field.name) == default


BLOCKS = read("headers")["blocks"]


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_header_blocks(name: str) -> None:
    fields = [(key, value) for key, value in BLOCKS[name]["fields"]]
    block = BLOCKS[name]["block"].encode()
    assert h.encode(fields) == block
    assert h.decode(block) == dict(fields)


def test_a_dispatch_is_the_task_with_more_lines() -> None:
    task = BLOCKS["task"]["block"].encode()
    more = BLOCKS["dispatch of a task"]["fields"][len(BLOCKS["task"]["fields"]) :]
    lines = b"".join(h.line(name, value) for name, value in more)
    assert h.extend(task, lines).decode() == BLOCKS["dispatch of a task"]["block"]
