"""docs/subjects.md says what the code does, no more and no less."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import pkgutil
import re
from functools import cached_property

import msgspec
import pytest

import bus.wire
from agent_runtime.runtime import Runtime
from bus import Client, codec, consumers, sites, topology
from bus.client.tasks import KEYED
from bus.connection import ApiError
from bus.payloads import HEADROOM
from bus.subjects import (
    CONNECTS,
    DISCONNECTS,
    HEAD,
    LAYERS,
    POLICY,
    PRIORITIES,
    SITE,
    SPILL,
    Subjects,
)
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.task import ErrorInfo
from coordinator.work import Work
from tests.docs.tables import DOCS, Section, code, codes, sections, shown_fields

DOC = sections("subjects.md")
FLEET = "FLEET"
NOT_NAMES = {"parse_task"}
"""Members of Subjects that read a subject and make none."""


def rendered() -> dict[str, str]:
    """What each member of ``Subjects`` gives, with its arguments in angle brackets."""
    subjects = Subjects(FLEET)
    found: dict[str, str] = {}
    for name, member in inspect.getmembers_static(Subjects):
        if name.startswith("_") or name in NOT_NAMES:
            continue
        if isinstance(member, property | cached_property):
            value = getattr(subjects, name)
        else:
            method = getattr(subjects, name)
            arguments = [
                "<client>.<seq>" if one == "task_id" else f"<{one.replace('_', '-')}>"
                for one in inspect.signature(method).parameters
            ]
            value = method(*arguments)
        found[name] = value.replace(FLEET, "<f>")
    return found


def structs() -> list[type[msgspec.Struct]]:
    """Every struct that is defined in ``bus.wire``, but for those of mqtt.md."""
    found = []
    for module in pkgutil.iter_modules(bus.wire.__path__):
        if module.name == "thing":
            continue
        members = vars(importlib.import_module(f"bus.wire.{module.name}")).values()
        found += [
            one
            for one in members
            if inspect.isclass(one)
            and issubclass(one, msgspec.Struct)
            and one.__module__ == f"bus.wire.{module.name}"
        ]
    return found


def test_every_name_of_the_code_is_documented_and_the_other_way_round() -> None:
    documented = [
        name
        for title in ("Subjects", "Patterns", "Streams", "Other names")
        for name in DOC[title].names()
    ]
    assert len(documented) == len(set(documented))
    keys = {HEAD, POLICY, f"{LAYERS}<name>", f"{SITE}<site>", f"{SITE}{sites.HUB}"}
    keys |= {f"{SPILL}<site>", CONNECTS}
    keys |= {sites.up_consumer("<site>"), sites.down_consumer("<site>")}
    in_code = {*rendered().values(), *keys, DISCONNECTS, consumers.FIRED, consumers.BRIDGE}
    # The object bucket's stream is named by NATS, not by us.
    assert set(documented) == in_code | {"OBJ_PAYLOADS_<f>"}


def test_subjects_and_patterns_stand_in_the_right_table() -> None:
    assert not [one for one in DOC["Subjects"].names() if "*" in one or ">" in one.split(".")]
    assert all("*" in one or one.endswith(".>") for one in DOC["Patterns"].names())


def test_streams_and_what_they_take_are_those_of_the_topology() -> None:
    wanted = topology.streams(
        Subjects(FLEET), topology.TopologySettings(), topology.SCHEDULES_LEVEL
    )
    documented = {code(row[0]): codes(row[1]) for row in DOC["Streams"].rows()}
    assert documented == {
        name.replace(FLEET, "<f>"): [one.replace(FLEET, "<f>") for one in config["subjects"]]
        for name, config in wanted.items()
    }


def test_what_carries_a_subject_is_the_stream_that_takes_it() -> None:
    wanted = topology.streams(
        Subjects(FLEET), topology.TopologySettings(), topology.SCHEDULES_LEVEL
    )
    for row in DOC["Subjects"].rows():
        subject = code(row[0]).replace("<f>", FLEET)
        takers = [
            name.replace(FLEET, "<f>")
            for name, config in wanted.items()
            if any(takes(pattern, subject) for pattern in config["subjects"])
        ]
        if row[1].startswith("stream"):
            assert takers == codes(row[1]), subject
        else:
            assert not takers, subject
        republishers = [
            name.replace(FLEET, "<f>")
            for name, config in wanted.items()
            if "republish" in config
            and takes(re.sub(r"\{\{.*?\}\}", "*", config["republish"]["dest"]), subject)
        ]
        assert republishers == (codes(row[1]) if "republished" in row[1] else []), subject


def takes(pattern: str, subject: str) -> bool:
    """NATS's matching, with a placeholder for one token."""
    want, have = pattern.split("."), subject.split(".")
    if want[-1] == ">":
        return len(have) >= len(want) and takes(
            ".".join(want[:-1]), ".".join(have[: len(want) - 1])
        )
    return len(want) == len(have) and all(a in ("*", b) for a, b in zip(want, have, strict=True))


def test_every_header_constant_is_documented_and_the_other_way_round() -> None:
    constants = {
        value
        for name, value in vars(h).items()
        if name.isupper() and not name.startswith("_") and name not in ("JSON", "OCTETS")
    }
    documented = DOC["Headers"].names()
    assert len(documented) == len(set(documented))
    assert set(documented) == constants


def test_no_header_is_spelled_in_the_code_and_missing_here() -> None:
    spelled: set[str] = set()
    for package in ("bus", "agent_runtime", "coordinator"):
        for file in (DOCS.parent / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            spelled |= set(re.findall(r'"((?:Fleet|Nats|KV)-[A-Z][A-Za-z-]*[a-z])"', text))
            spelled |= set(re.findall(r"(Fleet-[A-Z][A-Za-z-]*[a-z]):", text))
    documented = set(codes(DOC["Headers"].text))
    assert spelled - documented == set()


def test_header_examples_are_legal_headers() -> None:
    for row in DOC["Headers"].rows():
        assert len(row) == 5, row
        name, example = code(row[0]), code(row[4])
        assert h.decode(h.encode([(name, example)])) == {name: example}


def test_removed_headers_are_those_that_the_coordinator_removes() -> None:
    sentence = re.search(r"A client's own (.*?) are removed", DOC["Headers"].text, re.DOTALL)
    assert sentence
    removed = codes(sentence[1])
    everything = [name for name in DOC["Headers"].names() if name != h.STATUS]
    block = h.encode([(name, "1") for name in everything])
    left = h.decode(Work("echo", 1, "me.1", b"", block).block)
    assert sorted(removed) == sorted(set(everything) - set(left))


@pytest.mark.parametrize("struct", structs(), ids=lambda one: one.__name__)
def test_fields_of_each_struct(struct: type[msgspec.Struct]) -> None:
    rows = DOC[struct.__name__].rows()
    documented = [(code(row[0]), row[1], row[2].strip("`")) for row in rows]
    assert documented == [tuple(one) for one in shown_fields(struct)]
    assert all(row[3] for row in rows), "a field has no meaning"


def test_no_struct_is_documented_that_the_code_has_not() -> None:
    documented = {title for title, section in DOC.items() if "| field | type |" in section.text}
    assert documented == {one.__name__ for one in structs()}


@pytest.mark.parametrize(
    ("struct", "example"),
    [
        pytest.param(one, example, id=one.__name__)
        for one in structs()
        for example in DOC[one.__name__].examples("json")
    ],
)
def test_json_examples_decode(struct: type[msgspec.Struct], example: str) -> None:
    value = codec.decode(struct, example.encode())
    names = {field.encode_name for field in msgspec.structs.fields(struct)}
    assert set(json.loads(example)) <= names, "an example has a field that the struct has not"
    assert json.loads(codec.encode(value)) == json.loads(example), "it holds a default"


def test_every_struct_has_an_example() -> None:
    for struct in structs():
        section = DOC[struct.__name__]
        assert section.examples("json") or section.examples("text"), struct.__name__


def message(section: Section) -> tuple[h.Headers, bytes]:
    """The headers and the body of a section's example."""
    head, _, body = section.examples("text")[0].partition("\n\n")
    return h.decode(f"{head}\n\n".replace("\n", "\r\n").encode()), body.strip().encode()


def test_the_example_of_a_result_is_one() -> None:
    result = results.decode("me.1", *message(DOC["Result"]))
    assert (result.state, result.value(), result.usage) == ("completed", "hello", {"tokens": 3})


def test_the_example_of_a_dead_task_is_one() -> None:
    fields, body = message(DOC["DeadTask"])
    error = codec.decode(ErrorInfo, fields[h.ERROR].encode())
    assert (error.kind, fields[h.ATTEMPT], body) == ("AgentLost", "3", b'{"text":"hello"}')


def test_the_message_on_the_wire_has_the_sizes_that_it_says() -> None:
    text = DOC["Headers"].examples("text")[0].replace("\n", "").replace("␍␊", "\r\n")
    command, _, rest = text.partition("\r\n")
    head, total = map(int, command.split()[3:])
    assert len(rest) == total + 2
    assert rest[:head] == h.encode(list(h.decode(rest[:head].encode()).items())).decode()


def test_the_numbers_in_the_prose() -> None:
    text = (DOCS / "subjects.md").read_text(encoding="utf-8")
    # The codes of a full queue, each of them named.
    for number in (*ApiError.FULL, ApiError.WRONG_LAST_SEQUENCE):
        assert str(number) in text
    assert f"less than {HEADROOM:,} bytes" in text
    for priority in PRIORITIES:
        assert f"`{priority}`" in text
    assert f"`{KEYED}.<hash>`" in text


async def test_the_id_of_a_key_is_made_as_the_page_says(client: Client) -> None:
    digest = hashlib.sha256(b"echo" + b"\x00" + b"order-7").hexdigest()[:40]
    handle = await client.submit("echo", {"text": "x"}, key="order-7")
    assert handle.id == f"key.{digest}"


def test_built_in_verbs() -> None:
    assert set(DOC["Send commands"].names()) == Runtime.BUILT_IN
