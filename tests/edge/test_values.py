"""Configuration values: the edge merges, names and hashes them as the rest of the fleet does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.config import merge, paths, provenance
from bus.errors import InvalidPath
from edge import port, values
from edge.names import dumps
from edge.params import Invalid

TEXTS = st.text(max_size=6) | st.sampled_from(
    ["", "\x00\x1f\x7f", "é€😀\u2028", '"\\/', "1.5", "a.b"]
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers() | st.integers(-(10**40), 10**40)
LEAVES = st.none() | st.booleans() | INTS | FLOATS | TEXTS
KEYS = TEXTS | st.sampled_from(["a", "b", "c"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
OBJECTS = st.dictionaries(KEYS, TREES, max_size=4)


def stored(value: Any) -> bytes:
    """As the fleet's tools write a layer."""
    return msgspec.json.encode(value)


def marked(value: object) -> bool:
    """Whether there is a text that cannot be told from a number: see ``values``."""
    if isinstance(value, dict):
        return any(marked(one) for one in value.values())
    if isinstance(value, list):
        return any(marked(one) for one in value)
    return isinstance(value, str) and value.startswith(values.NUMBER)


@settings(max_examples=60, deadline=None)
@given(OBJECTS)
@example({"tiny": [1e-5, -1.25e-5, 9.999e-6, 1e-4, 1e16, 1e15, -0.0, 5e-324, 1.7e308]})
@example({"big": [2**63, 2**64, -(2**63) - 1, 10**30]})
def test_values_hash_alike(value: dict[str, Any]) -> None:
    if marked(value):
        return
    read = values.loads(stored(value))
    assert values.canonical(read).encode() == merge.canonical(value)
    assert values.digest(read) == merge.digest(value)
    assert values.plain(read) == value


@settings(max_examples=60, deadline=None)
@given(FLOATS)
def test_floats_are_written_alike(number: float) -> None:
    assert values.canonical(number).encode() == merge.canonical(number)


SPELLINGS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)


@settings(max_examples=60, deadline=None)
@given(SPELLINGS)
@example("1E+5")
@example("0.10")
@example("-0")
@example("-0.0")
@example("1e400")
@example("1e-400")
@example("100000000000000000000.0")
def test_numbers_in_odd_spellings(text: str) -> None:
    body = b'{"a":[' + text.encode() + b"]}"
    try:
        expected = merge.digest(msgspec.json.decode(body))
    except msgspec.DecodeError:
        with pytest.raises(ValueError, match="out of range"):
            values.loads(body)
    else:
        assert values.digest(values.loads(body)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":NaN}',
        b'{"a":[-Infinity]}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":[{"\\udc00":1}]}',
    ],
)
def test_what_is_no_value(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        values.deep(values.loads(body), values.DEEPEST)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"1", 0),
        (b"{}", 1),
        (b'{"a":[1,{"b":2}]}', 3),
        (b"[" * 66 + b"]" * 66, 66),
        (b'{"a":' * 200 + b"1" + b"}" * 200, 200),
    ],
)
def test_levels(body: bytes, found: int) -> None:
    value = values.loads(body)
    assert not values.deep(value, found)
    assert found == 0 or values.deep(value, found - 1)


def test_far_too_deep_is_an_error_that_can_be_handled() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        values.deep(values.loads(b"[" * 50_000 + b"]" * 50_000), 100_000)


@settings(max_examples=60, deadline=None)
@given(st.lists(OBJECTS, max_size=3))
def test_layers_are_merged_alike(layers: list[dict[str, Any]]) -> None:
    if any(marked(one) for one in layers):
        return
    made: dict[str, Any] = {}
    read = [values.loads(stored(one)) for one in layers]
    before = json.dumps(read)
    for one in read:
        values.lay(made, one)
    assert values.digest(made) == merge.digest(merge.merged(layers))
    assert json.dumps(read) == before  # nothing that was laid is changed by what came over it


@settings(max_examples=40, deadline=None)
@given(OBJECTS)
def test_a_copy_shares_no_mapping(value: dict[str, Any]) -> None:
    copy = values.copied(value)
    assert copy == value
    before = json.dumps(value)
    values.lay(copy, {"a": {"a": 1}, "b": None})
    assert json.dumps(value) == before


@settings(max_examples=40, deadline=None)
@given(OBJECTS, st.lists(KEYS, max_size=3))
def test_leaves_and_find(value: dict[str, Any], path: list[str]) -> None:
    ours = values.leaves(value, [])
    assert [path for path, _ in ours] == sorted(path for path, _ in ours)
    assert {tuple(path): leaf for path, leaf in ours} == dict(provenance.leaves(value))
    found = paths.find(value, path)
    assert values.find(value, path) == (None if found is paths.MISSING else found)
    assert values.nested(path, 1) == paths.nested(path, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS | KEYS, min_size=1, max_size=4))
def test_paths_are_shown_alike(names: list[str]) -> None:
    assert values.shown(names) == paths.shown(names)
    assert values.path(values.shown(names)) == names


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet='ab.."\\ \t\x01\u00a0ü', max_size=8) | st.text(max_size=8))
@example('a."b.c".d')
@example('"a')
@example('"\\')
@example('"a"b')
@example('a"b"')
@example("a..b")
@example("a.")
@example("")
@example("a\x1fb")
@example('"\\u0041"')
@example('"a\\q"')
def test_paths_are_read_alike(text: str) -> None:
    try:
        expected = list(paths.parse(text))
    except InvalidPath:
        with pytest.raises(Invalid):
            values.path(text)
    else:
        assert values.path(text) == expected


# secrets


async def broken(rest: str) -> str:
    raise LookupError("the vault is sealed")


RESOLVERS = {"vault": lambda rest: f"vault-{rest}", "broken": broken, "none": lambda rest: None}


async def test_references_are_resolved_at_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_TEST_SECRET", "from-env")
    file = tmp_path / "secret"
    file.write_text("from-file\n")
    raw = values.loads(
        json.dumps(
            {
                "a": "secret://env/EDGE_TEST_SECRET",
                "b": [{"c": f"secret://file{file}"}, "secret://vault/x/y", 1.5],
                "d": {"e": "no secret://env/X", "f": 2},
            }
        ).encode()
    )
    found: list[str] = []
    assert await values.resolved(raw, RESOLVERS, found) == {
        "a": "from-env",
        "b": [{"c": "from-file"}, "vault-x/y", 1.5],
        "d": {"e": "no secret://env/X", "f": 2},
    }
    assert sorted(found) == ["from-env", "from-file", "vault-x/y"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("secret://env/EDGE_NOT_THERE", "there is no such secret"),
        ("secret://file/not/there", "No such file"),
        ("secret://pigeon/x", "no such resolver; there are broken, env, file, none, vault"),
        ("secret://", "no such resolver"),
        ("secret://broken/x", "the vault is sealed"),
        ("secret://none/x", "there is no such secret"),
    ],
)
async def test_errors_name_the_reference_and_no_other_secret(reference: str, said: str) -> None:
    raw = {"a": {"good": "secret://vault/hunter2"}, "b": {"bad": reference}}
    with pytest.raises(Invalid) as problem:
        await values.resolved(raw, RESOLVERS, [])
    assert problem.value.field == "secret"
    assert reference in str(problem.value)
    assert said in str(problem.value)
    assert "vault-hunter2" not in str(problem.value)


async def test_a_text_that_looks_like_our_numbers_harms_nobody() -> None:
    read = values.loads(b'{"a":"\\u0001nobody"}')
    assert await values.resolved(read, {}, []) == {"a": "\x01nobody"}


# as MicroPython does it


@settings(max_examples=60, deadline=None)
@given(OBJECTS)
@example({"quotes": ['"', '\\"1.5', "\\", "-1.5e3"], "1.5": {"-2e1": 1e22}})
def test_values_hash_alike_where_floats_are_kept_as_texts(value: dict[str, Any]) -> None:
    if marked(value):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(port, "MICRO", True)
        read = values.loads(stored(value))
    assert values.digest(read) == merge.digest(value)
    assert values.plain(read) == value


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet='"\\{}[]:,.-+eE019 tu', max_size=20) | st.text(max_size=10))
def test_what_is_no_json_is_none_where_floats_are_kept_as_texts(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(port, "MICRO", True)
        try:
            read = values.loads(text.encode(errors="surrogatepass"))
        except ValueError:
            return
    assert values.plain(read) is not None or text.strip() == "null"


@pytest.mark.parametrize("micro", [False, True])
@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ({"a": [1, 1.5, None, True, "x", {}], "b": ()}, True),
        (float("nan"), False),
        ([float("-inf")], False),
        ({"a": {"b": b""}}, False),
        ([object()], False),
        ({1, 2}, False),
        (10**400, True),
    ],
)
def test_what_has_a_json_form(
    monkeypatch: pytest.MonkeyPatch, micro: bool, value: object, fine: bool
) -> None:
    monkeypatch.setattr(port, "MICRO", micro)
    if fine:
        assert dumps(value) == json.dumps(value, separators=(",", ":"))
    else:
        with pytest.raises((TypeError, ValueError)):
            dumps(value)
