"""Reading the documentation as data: its sections, tables and examples."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

DOCS = Path(__file__).resolve().parents[2] / "docs"

_CODE = re.compile(r"`([^`]+)`")
_CELL = re.compile(r"(?<!\\)\|")


class Section(NamedTuple):
    """What stands under one heading, down to the next of any level."""

    title: str
    text: str

    def rows(self) -> list[list[str]]:
        """The cells of all its table rows, without heads."""
        lines = self.text.splitlines()
        found: list[list[str]] = []
        for index, line in enumerate(lines):
            if not line.startswith("|") or set(line) <= set("|-: "):
                continue
            if index + 1 < len(lines) and set(lines[index + 1]) <= set("|-: ") and lines[index + 1]:
                continue  # the head
            cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
            found.append([cell.replace("\\|", "|") for cell in cells])
        return found

    def names(self) -> list[str]:
        """The code span that each row begins with."""
        return [code(row[0]) for row in self.rows()]

    def examples(self, language: str) -> list[str]:
        """The contents of its fenced blocks in ``language``."""
        fence = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
        return fence.findall(self.text)


def sections(file: str) -> dict[str, Section]:
    """The sections of a document by title, which must be unique in it."""
    text = (DOCS / file).read_text(encoding="utf-8")
    found: dict[str, Section] = {}
    title, lines, fenced = "", list[str](), False
    for line in [*text.splitlines(), "# end"]:
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            assert title not in found, f"{file}: two sections {title!r}"
            found[title] = Section(title, "\n".join(lines) + "\n")
            title, lines = line.lstrip("#").strip().replace("`", ""), []
        else:
            lines.append(line)
    return found


def code(cell: str) -> str:
    """The first code span of a cell."""
    match = _CODE.search(cell)
    assert match, f"no code span in {cell!r}"
    return match[1]


def codes(cell: str) -> list[str]:
    """All code spans of a cell."""
    return _CODE.findall(cell)


def shown_type(schema: dict[str, Any]) -> str:
    """A JSON Schema as the tables of fields write it."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if "anyOf" in schema:
        return " or ".join(shown_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f'"{one}"' for one in sorted(schema["enum"]))
    kind = schema.get("type", "any")
    if schema.get("contentEncoding") == "base64":
        return "base64 string"
    if kind == "array":
        if "prefixItems" in schema:
            return f"array of {', '.join(shown_type(one) for one in schema['prefixItems'])}"
        return f"array of {shown_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {shown_type(schema['additionalProperties'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low:g} to {high:.12g}"
    if low is not None:
        return f"{kind}, from {low:g}"
    return str(kind)


class Shown(NamedTuple):
    """A field as its row of a table begins."""

    name: str
    type: str
    default: str


def shown_fields(struct: type[msgspec.Struct]) -> list[Shown]:
    """The fields of a struct as the documentation shows them; no default means required."""
    _, parts = msgspec.json.schema_components([struct])
    properties = parts[struct.__name__]["properties"]
    found = []
    for field in msgspec.structs.fields(struct):
        if field.default is not msgspec.NODEFAULT:
            default = msgspec.json.encode(field.default).decode()
        elif field.default_factory is not msgspec.NODEFAULT:
            default = msgspec.json.encode(field.default_factory()).decode()
        else:
            default = "required"
        schema = {k: v for k, v in properties[field.encode_name].items() if k != "default"}
        found.append(Shown(field.encode_name, shown_type(schema), default))
    return found


def comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What the code says about each field, in the string below it."""
    tree = ast.parse(inspect.getsource(struct))
    assert isinstance(tree.body[0], ast.ClassDef)
    body = tree.body[0].body
    found = {}
    for one, below in pairwise(body):
        if (
            isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[one.target.id] = " ".join(str(below.value.value).replace("``", "`").split())
    return found
