"""Parameters as authors of edge agents name them, and inputs that fit or do not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge.params import Invalid, checked, declared, schema

EVERY = {"s": str, "i": int, "f": float, "b": bool, "l": list, "d": dict, "o": object}
SAMPLES: dict[str, Any] = {"s": "x", "i": 1, "f": 1.5, "b": True, "l": [1], "d": {"a": 1}, "o": 0}


def test_all_kinds() -> None:
    assert declared("capability x", EVERY) is EVERY
    assert checked(dict(SAMPLES), EVERY) == SAMPLES
    assert checked({}, {}) == {}


@pytest.mark.parametrize("name", sorted(EVERY))
@pytest.mark.parametrize("value", ["x", 1, 1.5, True, [1], {"a": 1}, None], ids=repr)
def test_every_value_for_every_kind_as_the_schema_says(name: str, value: object) -> None:
    params = {name: EVERY[name]}
    fits = Draft202012Validator(schema(params)).is_valid({name: value})
    if fits:
        assert checked({name: value}, params) == {name: value}
    else:
        with pytest.raises(Invalid) as problem:
            checked({name: value}, params)
        assert problem.value.field == name
        got = "null" if value is None else type(value).__name__
        assert problem.value.rule == f"Expected `{EVERY[name].__name__}`, got `{got}`"


@pytest.mark.parametrize(
    ("given_", "params", "field", "said"),
    [
        ([], {}, "", "JSON object"),
        (None, EVERY, "", "JSON object"),
        ({}, {"a": int}, "a", "is required and missing"),
        ({"b": 1}, {"a": (int, 1)}, "b", "no such parameter; known are a"),
        ({"b": 1}, {}, "b", "known are none"),
        ({"x" * 5000: 1}, {}, "x" * 100, "no such parameter"),
        ({"a": None}, {"a": (int, None)}, "a", "got `null`"),
    ],
)
def test_refusals(given_: object, params: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(Invalid) as problem:
        checked(given_, params)
    assert problem.value.field == field
    assert said in str(problem.value)
    assert len(str(problem.value)) < 300


def test_defaults() -> None:
    params = {"a": (int, 7), "b": (str, None), "c": float}
    assert checked({"c": 1}, params) == {"a": 7, "b": None, "c": 1}
    assert checked({"a": 0, "b": "", "c": 0.5}, params) == {"a": 0, "b": "", "c": 0.5}


def test_a_default_is_not_shared_between_runs() -> None:
    params: dict[str, Any] = {"a": (list, []), "b": (dict, {})}
    first = checked({}, params)
    first["a"].append(1)
    first["b"]["x"] = 1
    assert checked({}, params) == {"a": [], "b": {}}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"a": bytes}, "parameter a: write one of str, int"),
        ({"a": "int"}, "parameter a: write one of"),
        ({"a": (int,)}, "parameter a: write one of"),
        ({"a": (int, 1, 2)}, "parameter a: write one of"),
        ({"a": (set, 1)}, "parameter a: write one of"),
        ({"a": []}, "parameter a: write one of"),
        ({"a": ({}, 1)}, "parameter a: write one of"),
        ({"a b": int}, "capability x: parameter a b: use 1 to 64 characters"),
        ({"": int}, "use 1 to 64 characters"),
    ],
)
def test_declarations_that_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        declared("capability x", params)


def test_schemas() -> None:
    assert schema(None) == {}
    assert schema({}) == {"type": "object", "properties": {}, "additionalProperties": False}
    assert schema({"b": str, "a": (object, 1), "c": float}) == {
        "type": "object",
        "properties": {"b": {"type": "string"}, "a": {}, "c": {"type": "number"}},
        "required": ["b", "c"],
        "additionalProperties": False,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
)


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_any_input_is_taken_or_invalid(value: object) -> None:
    params: dict[str, Any] = {"a": (int, 1), "b": (list, [])}
    try:
        made = checked(value, params)
    except Invalid:
        return
    assert set(made) == {"a", "b"}
