"""A commit's configuration held to its schema, and to the agents that are there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bus.wire.card import Capability, Card
from fleetbus.gitops.problems import Problem
from fleetbus.gitops.repository import Repository
from fleetbus.gitops.tree import load
from fleetbus.gitops.validation import validate
from tests.support.repositories import MadeRepository

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["llm"],
    "additionalProperties": False,
    "properties": {
        "llm": {"$ref": "#/$defs/llm"},
        "tools": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "port": {"type": "integer", "minimum": 1},
        "key": {"type": "string", "pattern": "^sk-"},
        "limits": {
            "type": "object",
            "minProperties": 1,
            "dependentRequired": {"low": ["high"]},
            "not": {"required": ["never"]},
        },
        "store": {
            "oneOf": [
                {"required": ["path"], "properties": {"kind": {"const": "file"}}},
                {"required": ["url"], "properties": {"kind": {"const": "web"}}},
            ]
        },
    },
    "$defs": {
        "llm": {
            "type": "object",
            "required": ["model", "temperature"],
            "properties": {
                "model": {"enum": ["a", "b"]},
                "temperature": {"type": "number", "maximum": 2},
            },
        }
    },
}
LLM = "llm: {model: a, temperature: 1}\n"
ONE = Card("one", "1", labels={"gpu": "yes"}, capabilities=(Capability("sum"),))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "config") as made:
        yield made


def judge(
    made: MadeRepository,
    files: Mapping[str, str],
    agents: Sequence[Card] = (ONE,),
    schema: Any = SCHEMA,
    patience: float = 10,
) -> list[Problem]:
    given = {"fleets/prod.yaml": "", **files}
    if schema is not None:
        given["schema.json"] = json.dumps(schema, indent=1)
    made.commit(given)
    with Repository.open(made.path) as repository:
        tree = load(repository, repository.resolve("main"), "prod")
    return [*tree.problems, *validate(tree, agents, patience)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LLM, ""),
        (LLM + "port: 0\n", "global.yaml:2: error: port: 0 is less than the minimum of 1"),
        (LLM + "port: x\n", "global.yaml:2: error: port: 'x' is not of type 'integer'"),
        (LLM + "prot: 1\n", "global.yaml:2: error: prot: the schema has no such key here"),
        (LLM + "\ntools:\n- {name: x}\n- {}\n", "yaml:3: error: tools[1]: 'name' is missing"),
        (LLM + "tools: [{name: x}, null]\n", "global.yaml:2: error: tools[1]: None is not of type"),
        ("llm:\n  temperature: 1\n  model: c\n", "global.yaml:3: error: llm.model: 'c' is not one"),
        ("llm: {model: a}\n", "global.yaml:1: error: llm: 'temperature' is missing in what"),
        ("port: 1\n", "error: 'llm' is missing in what global.yaml, fleets/prod.yaml make"),
        (LLM + "limits: {}\n", "global.yaml:2: error: limits: {} should be non-empty"),
        (LLM + "limits: {low: 1}\n", "global.yaml:2: error: limits: 'high' is a dependency of"),
        (LLM + "limits: {never: 1}\n", "global.yaml:2: error: limits: is what the schema forbids"),
        (LLM + "store: {kind: web}\n", "global.yaml:2: error: store: {'kind': 'web'} fits none"),
        (LLM + "port: null\nlimits: null\nnone: null\n", ""),
        (LLM + "key: secret://env/KEY\nport: secret://file/p\nstore: secret://env/S\n", ""),
        (LLM + "key: wrong\n", "global.yaml:2: error: key: 'wrong' does not match '^sk-'"),
    ],
)  # fmt: skip
def test_values_are_held_to_the_schema(made: MadeRepository, text: str, problem: str) -> None:
    found = judge(made, {"global.yaml": text})
    assert len(found) == bool(problem), found
    if problem:
        assert problem in str(found[0])
        assert "(schema.json #" in str(found[0])


def test_a_layer_need_not_be_whole(made: MadeRepository) -> None:
    found = judge(
        made,
        {
            "global.yaml": "llm: {model: a}\nlimits: {low: 1}\nstore: {kind: file}\n",
            "fleets/prod.yaml": "llm: {temperature: 2}\nlimits: {low: null, high: 2}\n",
            "groups/10-gpu.yaml": "selector: gpu\nvalues: {store: {path: /x}}\n",
            "instances/one.yaml": "limits: {low: 1}\n",
        },
    )
    assert found == []


def test_a_wrong_value_that_is_hidden_is_told_too(made: MadeRepository) -> None:
    found = judge(made, {"global.yaml": LLM + "port: x\n", "fleets/prod.yaml": "port: 1\n"})
    assert [one.file for one in found] == ["global.yaml"]


def test_each_mistake_is_told_once(made: MadeRepository) -> None:
    agents = [Card(f"a{n}", "1", labels={"gpu": str(n % 3)}) for n in range(50)]
    groups = {
        f"groups/1{n}-g.yaml": f"selector: gpu={n}\nvalues: {{port: {n + 5}}}" for n in (0, 1)
    }
    found = judge(made, {"global.yaml": "llm: {model: a}\nkey: x\n", **groups}, agents)
    assert [(one.file, one.path, one.severity) for one in found] == [
        ("global.yaml", "key", "error"),
        ("global.yaml", "llm", "error"),
    ]
    assert "for agent a0 and 16 others" in found[1].message


def test_where_what_is_missing_was_removed(made: MadeRepository) -> None:
    found = judge(made, {"global.yaml": LLM, "instances/one.yaml": "llm:\n  model: null\n"})
    (problem,) = found
    assert str(problem).startswith("instances/one.yaml:1: error: llm: 'model' is missing in what ")
    assert "global.yaml, fleets/prod.yaml, instances/one.yaml make for agent one" in str(problem)


def test_nobody_is_there_yet(made: MadeRepository) -> None:
    files = {"global.yaml": "llm: {model: a}\n", "instances/one.yaml": "port: 1\n"}
    found = judge(made, files, [])
    assert [(one.severity, one.file) for one in found] == [
        ("warning", "."),
        ("error", "global.yaml"),
    ]
    assert "no agent is registered, so 1 group" in str(found[0])
    assert "for agent one, which is not registered" in str(found[1])
    # A group that might be for it could bring what is missing.
    found = judge(made, files | {"groups/10-g.yaml": "selector: x\n"}, [])
    assert [one.severity for one in found] == ["warning", "warning"]


def test_whom_nobody_knows_is_a_warning(made: MadeRepository) -> None:
    found = judge(
        made,
        {
            "global.yaml": LLM,
            "groups/10-gpu.yaml": "selector: gpu,cap=sum\n",
            "groups/20-tpu.yaml": "selector: tpu\n",
            "instances/one.yaml": "",
            "instances/onee.yaml": "",
        },
    )
    assert [str(one) for one in found] == [
        "groups/20-tpu.yaml: warning: no registered agent matches tpu: check the labels",
        "instances/onee.yaml: warning: no agent is registered as 'onee': check the name, or start "
        "it",
    ]


def test_without_a_schema_anything_goes(made: MadeRepository) -> None:
    assert judge(made, {"global.yaml": "a: 1"}, schema=None) == []
    assert judge(made, {"global.yaml": "a: 1"}, schema={}) == []


def test_nothing_is_said_to_be_missing_where_a_file_is_broken(made: MadeRepository) -> None:
    found = judge(made, {"global.yaml": "llm: [", "instances/one.yaml": "port: 0\n"})
    assert [one.file for one in found] == ["global.yaml", "instances/one.yaml"]


@pytest.mark.parametrize(
    ("schema", "line", "said"),
    [
        ({"type": "objekt"}, 2, "#/type: 'objekt' fits none of the alternatives"),
        ({"properties": {"a": {"minimum": "x"}}}, 4, "#/properties/a/minimum: 'x' is not of type"),
        ({"required": "a"}, 2, "#/required: 'a' is not of type 'array'"),
        ({"properties": {"a": {"pattern": "("}}}, 4, "#/properties/a/pattern: '(' is not a"),
        ({"patternProperties": {"[": {}}}, 2, "'[' is not a"),
        ({"properties": {"a": 1}}, 3, "#/properties/a"),
        ({"$ref": "#/$defs/x"}, 2, "'#/$defs/x' points to nothing"),
        ({"$ref": "#x"}, 2, "'#x' points to nothing"),
        ({"$ref": "http://127.0.0.1:9/x"}, 2, "nothing is fetched"),
        ({"allOf": [{"$ref": "file:///etc/passwd"}]}, 2, "nothing is fetched"),
        ({"$dynamicRef": "other.json"}, 2, "nothing is fetched"),
        ({"properties": {"a": {"$id": "http://x/"}}}, 4, "at the top only"),
        ({"properties": {"a": {"$schema": "http://x/"}}}, 4, "at the top only"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, 2, "is not supported"),
        ({"$schema": 7}, 2, "is not supported"),
        ({"$ref": "#"}, 0, "refers to itself without end"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, 0, "without end"),
    ],
)  # fmt: skip
def test_an_invalid_schema_is_an_error(
    made: MadeRepository, schema: Any, line: int, said: str
) -> None:
    (problem,) = judge(made, {"global.yaml": "a: 1\n"}, schema=schema)
    assert (problem.severity, problem.file, problem.line) == ("error", "schema.json", line)
    assert said in str(problem)


def test_references_within_the_file_work(made: MadeRepository) -> None:
    schema = {
        "$id": "https://example.org/config",
        "$defs": {
            "a/b": {"type": "integer"},
            "tree": {"properties": {"below": {"$ref": "#/$defs/tree"}}, "type": "object"},
            "named": {"$anchor": "here", "type": "string"},
        },
        "properties": {
            "a": {"$ref": "#/$defs/a~1b"},
            "t": {"$ref": "#/$defs/tree"},
            "n": {"$ref": "#here"},
            "$ref": {"type": "string"},
            "d": {"default": {"$ref": "http://not/a/reference"}},
        },
    }
    text = "a: x\nt: {below: {below: 5}}\nn: 1\n$ref: http://host\n"
    found = judge(made, {"global.yaml": text}, schema=schema)
    assert sorted(one.path for one in found) == ["a", "n", "t.below.below"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(a+)+$": {}}},
        {
            "$defs": {
                **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)},
                "d40": {},
            },
            "$ref": "#/$defs/d0",
        },
    ],
)
def test_a_schema_that_takes_for_ever_is_given_up(made: MadeRepository, schema: Any) -> None:
    text = f"a: {'a' * 50}b\n{'a' * 50}b: 1\n"
    begun = time.monotonic()
    (problem,) = judge(made, {"global.yaml": text}, schema=schema, patience=2)
    assert time.monotonic() - begun < 10
    assert "checking was given up at global.yaml: it took more than 2 s" in str(problem)
    assert problem.severity == "error"


def test_what_was_found_before_giving_up_is_told(made: MadeRepository) -> None:
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}, "b": {"type": "integer"}}}
    files = {"global.yaml": "b: x\n", "instances/one.yaml": f"a: {'a' * 50}b\n"}
    found = judge(made, files, schema=schema, patience=2)
    assert [one.file for one in found] == ["global.yaml", "schema.json"]
    assert "given up at instances/one.yaml" in str(found[1])


def test_many_problems_are_cut_off(made: MadeRepository) -> None:
    files = {f"instances/i{n}.yaml": f"port: {-n}\n" for n in range(300)}
    agents = [Card(f"i{n}", "1") for n in range(300)]
    found = judge(made, {"global.yaml": LLM, **files}, agents)
    assert len(found) == 201
    assert "and 100 more" in str(found[-1])


def test_a_thousand_configurations_are_checked_in_seconds(made: MadeRepository) -> None:
    properties = {
        f"k{i}": {"properties": {f"x{j}": {"type": "integer"} for j in range(10)}}
        for i in range(20)
    }
    text = "".join(f"k{i}: {{{', '.join(f'x{j}: {j}' for j in range(10))}}}\n" for i in range(20))
    files = {f"instances/i{n}.yaml": f"k1: {{x1: {n}}}\n" for n in range(1000)}
    agents = [Card(f"i{n}", "1") for n in range(1000)]
    schema = {"properties": properties, "additionalProperties": False}
    begun = time.monotonic()
    assert judge(made, {"global.yaml": text, **files}, agents, schema) == []
    assert time.monotonic() - begun < 30
