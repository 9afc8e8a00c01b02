"""docs/asyncapi.yaml is well formed and says what docs/subjects.md and the structs say."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
import yaml

from bus.version import VERSION
from tests.docs import asyncapi
from tests.docs.tables import code, sections

DOCUMENT: dict[str, Any] = yaml.safe_load(asyncapi.FILE.read_text(encoding="utf-8"))


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for inner in value.values() for one in references(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in references(inner)]
    return []


def test_the_file_is_up_to_date() -> None:
    assert asyncapi.FILE.read_text(encoding="utf-8") == asyncapi.text(), (
        "run: python -m tests.docs.asyncapi"
    )


def test_it_is_asyncapi_3() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == VERSION
    assert set(DOCUMENT) == {
        "asyncapi",
        "info",
        "defaultContentType",
        "servers",
        "channels",
        "operations",
        "components",
    }


def test_channels_are_the_subjects() -> None:
    addresses = [channel["address"] for channel in DOCUMENT["channels"].values()]
    subjects = sections("subjects.md")["Subjects"].names()
    assert sorted(addresses) == sorted(asyncapi.address(one) for one in subjects)


@pytest.mark.parametrize("name", sorted(DOCUMENT["channels"]))
def test_a_channels_parameters_are_those_of_its_address(name: str) -> None:
    channel = DOCUMENT["channels"][name]
    assert set(channel.get("parameters", {})) == set(re.findall(r"{(.*?)}", channel["address"]))


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert found
    for reference in found:
        place = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_every_channel_has_a_sender_and_a_receiver() -> None:
    for name in DOCUMENT["channels"]:
        actions = {
            one["action"]
            for one in DOCUMENT["operations"].values()
            if one["channel"]["$ref"] == f"#/channels/{name}"
        }
        assert actions == {"send", "receive"}, name


def test_schemas_are_those_of_the_structs() -> None:
    every = asyncapi.structs()
    _, parts = msgspec.json.schema_components(every, ref_template="#/components/schemas/{name}")
    schemas = DOCUMENT["components"]["schemas"]
    assert {name: schemas[name] for name in parts} == json.loads(msgspec.json.encode(parts))


def test_every_header_is_on_some_message() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    listed = {
        header
        for name, schema in schemas.items()
        if name.startswith("Headers-")
        for header in schema["properties"]
    }
    rows = sections("subjects.md")["Headers"].rows()
    # The others are on answers and registry entries, which have no channel.
    answers = {code(row[0]) for row in rows if row[2] in ("replies", "registry entry")}
    answers |= {code(row[0]) for row in rows if row[2].startswith("answer to")}
    assert listed | answers == {code(row[0]) for row in rows}
