"""docs/settings.md says what the code does, no more and no less."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from bus.settings import FILES, PREFIX, BusSettings, read
from bus.topology import TopologySettings
from coordinator.settings import PROFILES, CoordinatorSettings
from tests.docs.tables import DOCS, code, comments, sections, shown_fields

DOC = sections("settings.md")

SECTIONS = [
    pytest.param("Connection", "", BusSettings, id="connection"),
    pytest.param("Topology", "topology", TopologySettings, id="topology"),
    pytest.param("Coordinator", "coordinator", CoordinatorSettings, id="coordinator"),
]


@pytest.mark.parametrize(("title", "section", "struct"), SECTIONS)
def test_every_setting_with_its_type_and_default(
    title: str, section: str, struct: type[msgspec.Struct]
) -> None:
    documented = [(code(row[0]), row[1], code(row[2])) for row in DOC[title].rows()]
    assert documented == [tuple(one) for one in shown_fields(struct)]


@pytest.mark.parametrize(("title", "section", "struct"), SECTIONS)
def test_meanings_are_the_words_of_the_code(
    title: str, section: str, struct: type[msgspec.Struct]
) -> None:
    meanings = {code(row[0]): row[4] for row in DOC[title].rows()}
    assert all(meanings.values())
    said = comments(struct)
    assert {name: meanings[name] for name in said} == said


@pytest.mark.parametrize(("title", "section", "struct"), SECTIONS)
def test_every_variable_is_read(title: str, section: str, struct: type[msgspec.Struct]) -> None:
    variables = {code(row[0]): code(row[3]) for row in DOC[title].rows()}
    other: dict[str, Any] = {"file": "memory", "lan": "wan"}
    for field in msgspec.structs.fields(struct):
        value = other.get(field.default, "77")
        found, source = read(struct, section, environ={variables[field.name]: value})
        assert getattr(found, field.name) != field.default
        assert source == {field.name: f"environment {variables[field.name]}"}


def test_profiles() -> None:
    base = CoordinatorSettings()
    changed = sorted({name for changes in PROFILES.values() for name in changes})
    documented = {code(row[0]): [float(cell) for cell in row[1:]] for row in DOC["Profiles"].rows()}
    assert documented == {
        name: [changes.get(name, getattr(base, name)) for changes in PROFILES.values()]
        for name in changed
    }
    for profile in PROFILES:
        assert f"`{profile}`" in DOC["Profiles"].text


def test_the_example_file_is_legal(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (text,) = DOC["Settings"].examples("toml")
    assert set(tomllib.loads(text)) > {"topology", "coordinator"}
    file = tmp_path / "fleetbus.toml"
    file.write_text(text, encoding="utf-8")
    environ = {f"{PREFIX}CONFIG": str(file)}
    assert read(BusSettings, "", environ=environ)[0].fleet == "prod"
    assert read(TopologySettings, "topology", environ=environ)[0].replicas == 3
    assert read(CoordinatorSettings, "coordinator", environ=environ)[0].profile == "wan"


def test_where_the_file_is_looked_for() -> None:
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    places = [text.index(f"`{file}`") for file in FILES]
    assert places == sorted(places)
    assert text.index(f"`{PREFIX}CONFIG`") < places[0]
