"""Layers are merged as JSON Merge Patches, and each value can be traced to its layer."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config import Layers, Stored, explain, merged, paths
from bus.config.merge import canonical, digest
from bus.config.provenance import leaves
from bus.errors import InvalidPath
from bus.wire.config import ConfigHead, ConfigLayer

# The examples of RFC 7396, appendix A, whose target and patch are objects.
RFC = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC)
def test_the_examples_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merged([target, patch]) == result


NAMES = st.sampled_from(["a", "b", "c.d", 'e "f"', "ä"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
LAYERS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=4)


@given(LAYERS)
def test_what_is_explained_is_what_is_merged(layers: list[dict[str, Any]]) -> None:
    settings = explain((str(index), one) for index, one in enumerate(layers))
    found = {one.path: one.value for one in settings if not one.removed}
    assert found == dict(leaves(merged(layers)))
    for one in settings:
        assert paths.parse(paths.shown(one.path)) == one.path
        # Each value stands in the layer that is named, and so does what it hid.
        there = paths.find(layers[int(one.layer)], one.path)
        assert there == one.value or (one.value == {} and isinstance(there, dict))
        for hidden in one.hides:
            assert int(hidden.layer) <= int(one.layer)
            assert paths.find(layers[int(hidden.layer)], hidden.path) == hidden.value


@given(LAYERS)
def test_layers_are_not_changed(layers: list[dict[str, Any]]) -> None:
    before = json.dumps(layers)
    made = merged(layers)
    made["new"] = 1
    assert json.dumps(layers) == before


def test_what_was_hidden_is_told_the_latest_first() -> None:
    layers = [
        ("global", {"llm": {"model": "small", "top": 1}, "gone": True}),
        ("fleet", {"llm": "none", "gone": None}),
        ("instance.a", {"llm": {"model": "large"}}),
    ]
    gone, model = explain(layers)
    assert (gone.path, gone.removed, gone.layer) == (("gone",), True, "fleet")
    assert (model.path, model.value, model.layer) == (("llm", "model"), "large", "instance.a")
    assert [(one.layer, paths.shown(one.path), one.value) for one in model.hides] == [
        ("fleet", "llm", "none"),
        ("global", "llm.model", "small"),
        ("global", "llm.top", 1),
    ]
    assert explain(layers, ("llm",)) == [model]


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", 'a"b', '"a', "a b", '"a"b', "a\nb"])
def test_paths_that_are_none(text: str) -> None:
    with pytest.raises(InvalidPath, match="key "):
        paths.parse(text)


def test_paths_lead_into_mappings_and_attributes() -> None:
    layer = ConfigLayer({"a": {"b.c": [1]}})
    assert paths.find(layer, ("values", "a", "b.c")) == [1]
    assert paths.find(layer, ("values", "x", "y")) is paths.MISSING
    assert paths.nested(("a", "b"), 1) == {"a": {"b": 1}}


def test_a_digest_is_made_as_the_page_says() -> None:
    values = {"b": [1, 2.5, None, "ä"], "a": {"y": True, "x": {}}}
    text = '{"a":{"x":{},"y":true},"b":[1,2.5,null,"ä"]}'
    assert digest(values) == hashlib.sha256(text.encode()).hexdigest()[:16]


def stored(name: str, values: dict[str, Any], selector: str = "") -> Stored:
    return Stored(name, ConfigLayer(values, selector), 1)


def test_layers_apply_in_order_and_by_selector() -> None:
    layers = Layers(
        [
            stored("instance.a", {"x": "instance"}),
            stored("group.20-late", {"x": "late", "late": 1}, "gpu"),
            stored("group.10-early", {"x": "early", "early": 1}, "cap=echo"),
            stored("fleet", {"x": "fleet"}),
            stored("global", {"x": "global", "all": 1}),
        ],
        ConfigHead("c0ffee"),
    )
    assert layers.of("b", "s", {}, []).values == {"x": "fleet", "all": 1}
    gpu = layers.of("b", "s", {"gpu": "1"}, ["echo"])
    assert gpu.values == {"x": "late", "all": 1, "early": 1, "late": 1}
    assert [one.name for one in layers.of("a", "s", {}, ["echo"]).layers] == [
        "global",
        "fleet",
        "group.10-early",
        "instance.a",
    ]
    # Made once for all agents to whom the same layers apply.
    assert layers.of("c", "other", {"gpu": "2"}, ["echo"]) is gpu
    assert layers.commit == "c0ffee"


def test_two_hundred_keys_are_merged_and_hashed_within_a_millisecond() -> None:
    wide = [
        {f"section{i}": {f"key{j}": f"{n}-{i}-{j}" for j in range(10)} for i in range(20)}
        for n in range(5)
    ]
    best = 1.0
    for _ in range(20):
        begun = time.process_time()
        digest(merged(wide))
        best = min(best, time.process_time() - begun)
    # The best of many, in processor time: neighbours on the machine do not count.
    assert best < 0.001


def test_the_canonical_form_tells_types_apart() -> None:
    assert (
        canonical({"b": 1, "a": {"d": "ä", "c": None}}) == '{"a":{"c":null,"d":"ä"},"b":1}'.encode()
    )
    assert len({canonical(one) for one in (1, 1.0, True, "1", [1], None)}) == 6


LINES = {"a": 1, "a.b": 2, 'a."x.y"': 5, "empty": 0}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a", 1),
        ("a.b", 2),
        ("a.b.c.d", 2),
        ("a.c", 1),
        ('a."x.y"', 5),
        ('a."x.y".z', 5),
        ("a.x.y", 1),
        ("ab", 0),
        ("empty", 0),
    ],
)
def test_the_nearest_line_is_the_paths_or_one_above(path: str, line: int) -> None:
    assert paths.nearest_line(LINES, paths.parse(path)) == line
    assert paths.nearest_line({}, paths.parse(path)) == 0
    assert paths.nearest_line(LINES, ()) == 0
