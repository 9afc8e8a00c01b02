"""Files of a configuration repository, read."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.config import paths
from fleetbus.gitops import source, yaml_text
from fleetbus.gitops.documents import Document, InvalidDocument, parse, parse_json


def yaml_of(text: str) -> Document:
    return parse(text.encode(), "f.yaml")


def refusal(text: str | bytes, *, as_json: bool = False) -> InvalidDocument:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(InvalidDocument) as caught:
        parse_json(data, "f.json") if as_json else parse(data, "f.yaml")
    assert str(caught.value).startswith(f"f.{'json' if as_json else 'yaml'}:{caught.value.line}:")
    return caught.value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("2026-11-21", "2026-11-21"),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("-7", -7),
        ("+7", 7),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("True", True),
        ("FALSE", False),
        ("'true'", "true"),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
        ("!!int 12", 12),
        ("|\n  12\n", "12\n"),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("=", "="),
        ("٣", "٣"),
    ],
)
def test_scalars_follow_the_core_schema(written: str, meant: Any) -> None:
    value = yaml_of(f"a: {written}\n").values["a"]
    assert value == meant
    assert type(value) is type(meant)


def test_lines_are_those_of_the_keys() -> None:
    document = yaml_of('# first\na: &a\n  b: 1\n\n  "c.d":\n    e: [1, {f: 2}]\ng: *a\n')
    assert document.values["g"] == document.values["a"] == {"b": 1, "c.d": {"e": [1, {"f": 2}]}}
    assert document.lines == {
        "a": 2,
        "a.b": 3,
        'a."c.d"': 5,
        'a."c.d".e': 6,
        "g": 7,
        "g.b": 3,
        'g."c.d"': 5,
        'g."c.d".e': 6,
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff", "{}"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert yaml_of(text).values == {}


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a: &x [*x]", 1, 8, "cycle"),
        ("a: &x\n  b:\n    c: *x", 3, 8, "cycle"),
        ("a: *x", 1, 4, "stands for nothing"),
        ("1: x", 1, 1, "put it in quotes"),
        ("a: {2.5: x}", 1, 5, "put it in quotes"),
        ("true: x", 1, 1, "true (a boolean)"),
        ("~: x", 1, 1, "empty (null)"),
        ("? [a]\n: x", 1, 3, "a list"),
        ("? {a: b}\n: x", 1, 3, "a mapping"),
        ("a: 1\nb:\n  c: 1\n  c: 2", 4, 3, "twice, first on line 3"),
        ("&k a: 1\n*k : 2", 2, 1, "twice"),
        ("a: 1\n---\nb: 2", 2, 1, "second document"),
        ("a: !!python/object/apply:os.system [x]", 1, 4, "!!python/object/apply:os.system"),
        ("a: !mine x", 1, 4, "!mine"),
        ("a: !mine {b: c}", 1, 4, "!mine"),
        ("a: !!binary aGk=", 1, 4, "!!binary"),
        ("a: !!int x", 1, 4, "remove the tag"),
        ("a: ! 12", 1, 4, "the tag ! is not allowed"),
        ("a: !!bool 1", 1, 4, "remove the tag"),
        ("a: .nan", 1, 4, "not a finite number"),
        ("a: -.inf", 1, 4, "not a finite number"),
        ("a: 1e999", 1, 4, "not a finite number"),
        ("a: 18446744073709551616", 1, 4, "64 bits"),
        ("a: -9223372036854775809", 1, 4, "64 bits"),
        ("a: 0x" + "f" * 100_000, 1, 4, "64 bits"),
        ("a: " + "9" * 200_000, 1, 4, "64 bits"),
        ("- a", 1, 1, "a list, and it must be a mapping"),
        ("text", 1, 1, "text, and it must be a mapping"),
        ("null", 1, 1, "it must be a mapping"),
        ("a: b\x00", 1, 5, "U+0000"),
        ("a: 1\nb: \x1b[31m", 2, 4, "U+001B"),
        ("a: b\u2028c", 1, 5, "U+2028"),
        ("<<: {a: 1}", 1, 1, "merge keys"),
        ("a: [1,\nb: 2", 3, 1, "close the bracket"),
        ("a:\n\tb: 1", 2, 1, "tabs are not allowed"),
        ("a: b: c", 1, 5, "quotes"),
        ("a: @x", 1, 4, "quotes"),
        ("a: " + "[" * 100_000, 1, 35, "deeper than 32"),
        ("".join(f"{' ' * i}a:\n" for i in range(40)), 33, 33, "deeper than 32"),
        ("a: '" + "x" * source.MAX_BYTES + "'", 1, 1, "262144"),
        ("a: [" + "1," * (source.MAX_VALUES + 1) + "]", 1, 0, "more than 20000 values"),
    ],
)
def test_yaml_that_is_refused(text: str, line: int, column: int, said: str) -> None:
    error = refusal(text)
    assert said in str(error)
    assert error.line == line
    assert column in (0, error.column)
    assert len(str(error)) < 500


def test_a_file_of_ten_megabytes_is_not_even_parsed() -> None:
    begun = time.process_time()
    error = refusal(b"a: [" + b"[" * 10_000_000)
    assert "10000004 bytes" in str(error)
    assert time.process_time() - begun < 0.5


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a0: &a0 x\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)
    )
    begun = time.process_time()
    assert "those behind aliases counted at each use" in str(refusal(bomb))
    assert time.process_time() - begun < 2


def test_long_text_behind_many_aliases_is_refused() -> None:
    error = refusal(f"a: &a '{'x' * 100_000}'\nb: [{', '.join(['*a'] * 1000)}]\n")
    assert "characters" in str(error)


def test_long_paths_to_many_keys_are_refused() -> None:
    deep = "{" + ": {".join("k" * 1000 + str(i) for i in range(25)) + ": {"
    deep += ", ".join(f"x{i}: 1" for i in range(10_000)) + "}" * 26
    assert "the paths to them" in str(refusal(f"a: {deep}"))


def test_what_is_not_utf_8_is_refused_with_its_place() -> None:
    error = refusal("a: 1\nb: käse".encode("latin-1"))
    assert (error.line, error.column) == (2, 5)
    assert "save the file as UTF-8" in str(error)


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("", 1, 1, "ends where a value is expected"),
        ("[]", 1, 1, "it must be a mapping"),
        ('{"a": 1,}', 1, 9, "no comma"),
        ('{"a": 1,\n "a": 2}', 2, 2, "twice"),
        ('{"a": NaN}', 1, 7, "not a finite number"),
        ('{"a": -Infinity}', 1, 7, "not a finite number"),
        ('{"a": 1e999}', 1, 7, "not a finite number"),
        ('{"a": ' + "9" * 5000 + "}", 1, 7, "64 bits"),
        ('{\n"a": [1 2]}', 2, 9, "expected a comma or ]"),
        ("{a: 1}", 1, 2, "double quotes"),
        ('{"a" 1}', 1, 6, "colon"),
        ('{"a": 1} x', 1, 10, "something follows"),
        ('{"a": "\\ud83d"}', 1, 15, "half a character"),
        ('{"a": tru}', 1, 7, "Expecting value"),
        ('{"a": 1', 1, 8, "expected a comma or }"),
        ('{"a":' + "[" * 100_000, 1, 37, "deeper than 32"),
    ],
)
def test_json_that_is_refused(text: str, line: int, column: int, said: str) -> None:
    error = refusal(text, as_json=True)
    assert said in str(error)
    assert (error.line, error.column) == (line, column)


def test_json_has_lines_too() -> None:
    document = parse_json(
        b'{\r\n\t"a": {"b":\n[1, {"c": null}]},\n"\\u00e4": "\\ud83d\\ude00"}', "f"
    )
    assert document.values == {"a": {"b": [1, {"c": None}]}, "ä": "😀"}
    assert document.lines == {"a": 2, "a.b": 2, "ä": 4}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(TEXT, VALUES, max_size=5)


@given(MAPPINGS)
def test_json_goes_round(values: dict[str, Any]) -> None:
    document = parse_json(json.dumps(values).encode(), "f.json")
    assert document.values == values


@given(MAPPINGS, st.sampled_from([True, False, None]))
def test_what_yaml_dumps_goes_round(values: dict[str, Any], flow: bool | None) -> None:
    dumped = yaml.safe_dump(values, default_flow_style=flow, default_style='"', sort_keys=False)
    # In double quotes numbers have tags; that is what PyYAML writes for what it would misread.
    document = parse(dumped.encode(), "f.yaml")
    assert document.values == values
    for path in document.lines:
        assert paths.find(values, paths.parse(path) if path else ("",)) is not paths.MISSING


@given(st.binary(max_size=300))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (parse, parse_json):
        try:
            read(data, "f")
        except InvalidDocument as error:
            places = error.line, error.column
            assert min(places) >= 1


YAML_LIKE = st.text(st.sampled_from("ab1:-?,[]{}&*!|>'\"#%@ \n\t\r~.<\u00e4\\x"), max_size=40)


@settings(max_examples=1000)
@given(YAML_LIKE)
def test_both_parsers_of_pyyaml_lead_to_the_same(text: str) -> None:
    def outcome(loader: Any) -> Any:
        try:
            root = yaml_text.node(source.text(text.encode(), "f"), "f", loader)
            made = source.Expansion("f").document(root)
            return made.values, made.lines
        except InvalidDocument:
            return None

    fast, pure = outcome(yaml_text.FAST), outcome(yaml_text.PURE)
    # They differ in which blanks and marks they take where, but never in what they read.
    if fast is not None and pure is not None:
        assert fast == pure
