"""From targets to agents, and what is said of those that are wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.errors import SettingsError
from fleetbus.targets import load_agents, source_of

SOURCE = """
from agent_runtime import Agent
import neighbour

agent = Agent("one")
several = [Agent("two"), Agent("three")]
number = 5
empty = []

def make():
    return Agent("made")

def broken():
    raise RuntimeError("no model")

async def later():
    return Agent("late")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with sources, in which we are; imports are undone at the end."""
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "neighbour.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        ("mine:agent", ["one"]),
        ("mine", ["one"]),
        ("mine.py:agent", ["one"]),
        ("./mine.py", ["one"]),
        ("mine:several", ["two", "three"]),
        ("mine.py:make", ["made"]),
    ],
)
def test_target(here: Path, target: str, ids: list[str]) -> None:
    assert [agent.id for agent in load_agents([target])] == ids


def test_several_targets_of_one_file(here: Path) -> None:
    found = load_agents(["mine.py:agent", "mine.py:several"], only=["three", "one"])
    assert [agent.id for agent in found] == ["one", "three"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere.py:agent", "there is no file"),
        ("nowhere:agent", "there is no module 'nowhere'"),
        ("mine:agnet", "mine has no 'agnet'; its agents are called agent"),
        ("mine:number", "is a int, not an Agent"),
        ("mine:empty", "is a list, not an Agent"),
        ("mine:broken", "RuntimeError: no model"),
        ("mine:later", "is an async function: make it a plain one"),
        ("mine:", "write module:name or path.py:name"),
        (":agent", "write module:name or path.py:name"),
    ],
)
def test_wrong_target_is_named_with_the_reason(here: Path, target: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_agents([target])
    assert said in str(raised.value)
    assert target in str(raised.value)


def test_error_inside_a_module_names_file_and_line(here: Path) -> None:
    (here / "bad.py").write_text("import json\nimport missing_thing\n")
    with pytest.raises(SettingsError, match=r"bad\.py, line 2: ModuleNotFoundError"):
        load_agents(["bad.py:agent"])
    with pytest.raises(SettingsError, match=r"bad\.py, line 2: ModuleNotFoundError"):
        load_agents(["bad:agent"])
    (here / "worse.py").write_text("agent = \n")
    with pytest.raises(SettingsError, match=r"worse\.py, line 1: invalid syntax"):
        load_agents(["worse.py"])


def test_ids_must_differ(here: Path) -> None:
    with pytest.raises(SettingsError, match="agent id 'one' is that of an agent of mine:agent too"):
        load_agents(["mine:agent", "mine.py:agent"])


def test_only_must_name_an_agent(here: Path) -> None:
    with pytest.raises(SettingsError, match="there are three, two"):
        load_agents(["mine:several"], only=["four"])


def test_source(here: Path) -> None:
    assert source_of("mine.py:agent") == here / "mine.py"
    assert source_of("mine:agent") is None
