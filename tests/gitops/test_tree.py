"""What a commit's files make, and everything that is wrong in them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bus.config import layers
from fleetbus.gitops import layout
from fleetbus.gitops.problems import Problem
from fleetbus.gitops.repository import Repository
from fleetbus.gitops.tree import Tree, golden, load
from tests.support.repositories import BEGIN, LINK, MadeRepository

GOOD = {
    "global.yaml": "llm:\n  model: a\n",
    "fleets/prod.yaml": "llm:\n  model: b\n",
    "fleets/test.yaml": "broken: [\n",
    "groups/20-gpu.yaml": "# for those with a card\nselector: gpu, env in (x,y)\nvalues:\n  a: 1\n"
    "  b:\n    c: 2\n",
    "groups/10-all.yaml": "selector: '!gpu'\n",
    "instances/one.yaml": "a: null\n",
    "schema.json": '{\n"type": "object"}',
    "golden/x.yaml": "case:\n  capability: y\n",
    "README.md": "hello",
    "groups/.gitkeep": "",
    "groups/README.md": "hello",
    "Makefile": "",
}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "config") as made:
        yield made


def read(
    made: MadeRepository, files: Mapping[str, str | bytes | None], fleet: str = "prod"
) -> Tree:
    made.commit(files)
    with Repository.open(made.path) as repository:
        return load(repository, repository.resolve("main"), fleet)


def test_a_tree_has_layers_with_their_origin(made: MadeRepository) -> None:
    first = made.commit(GOOD, author="Ann <ann@x>")
    tree = read(made, {"instances/two.yaml": "z: 1\n"})
    assert tree.problems == []
    assert list(tree.layers) == [
        "global",
        "fleet",
        "group.10-all",
        "group.20-gpu",
        "instance.one",
        "instance.two",
    ]
    gpu = tree.layers["group.20-gpu"]
    assert gpu.values == {"a": 1, "b": {"c": 2}}
    assert gpu.lines == {"a": 4, "b": 5, "b.c": 6}
    assert gpu.selector == "env in (x,y),gpu"
    assert (gpu.file, gpu.commit, gpu.author) == ("groups/20-gpu.yaml", first, "Ann <ann@x>")
    assert gpu.at_ms == BEGIN * 1000
    assert tree.layers["group.10-all"].values == {}
    assert tree.layers["instance.one"].values == {"a": None}
    assert tree.layers["instance.two"].commit == tree.commit.id != first
    assert tree.layers["fleet"].values == {"llm": {"model": "b"}}
    assert (tree.schema, tree.schema_lines) == ({"type": "object"}, {"type": 2})
    assert tree.golden["golden/x.yaml"].lines["case.capability"] == 2


def test_golden_files_can_be_read_alone(made: MadeRepository) -> None:
    files = {
        "golden/y.yaml": "case: [",
        "golden/more/z.yaml": "x: [",
        "golden/w.yml": "",
        "instances/broken.yaml": "a: [",
        "groups/x.yaml": "",
    }
    tree = read(made, {**GOOD, **files})
    with Repository.open(made.path) as repository:
        found, problems = golden(repository, tree.commit)
    assert found == tree.golden
    assert list(found) == ["golden/x.yaml"]
    assert problems == [one for one in tree.problems if one.file.startswith("golden/")]
    assert [(one.file, one.severity) for one in problems] == [
        ("golden/more/z.yaml", "warning"),
        ("golden/w.yml", "error"),
        ("golden/y.yaml", "error"),
    ]


GROUP = "selector: x\n"


@pytest.mark.parametrize(
    ("files", "severity", "place", "said"),
    [
        ({"groups/gpu.yaml": GROUP}, "error", "groups/gpu.yaml", "groups/50-gpu.yaml"),
        ({"groups/1-gpu.yaml": GROUP}, "error", "groups/1-gpu.yaml", "groups/50-gpu.yaml"),
        ({"groups/10-a b.yaml": GROUP}, "error", "groups/10-a b.yaml", "groups/10-a-b.yaml"),
        ({f"groups/10-{'x' * 70}.yaml": GROUP}, "error", "groups/10-", "at most 64"),
        ({"instances/a b.yaml": ""}, "error", "instances/a b.yaml", "instances/a-b.yaml"),
        ({"instances/ä.yaml": ""}, "error", "instances/ä.yaml", "cannot be an agent"),
        ({"instances/a\x1b[31m.yaml": ""}, "error", "instances/a?[31m.yaml", "cannot be"),
        ({"instances/.yaml": ""}, "", "", ""),
        ({"instances/a.yml": ""}, "error", "instances/a.yml", "rename it to instances/a.yaml"),
        ({"fleets/prod.yml": ""}, "error", "fleets/prod.yml", "rename it to fleets/prod.yaml"),
        ({"fleets/test.yml": ""}, "warning", "fleets/test.yml", "fleets/test.yaml"),
        ({"golden/a.yml": ""}, "error", "golden/a.yml", "golden/a.yaml"),
        ({"global.yml": ""}, "error", "global.yml", "rename it to global.yaml"),
        ({"Global.yaml": ""}, "error", "Global.yaml", "rename it to global.yaml"),
        ({"schema.yaml": ""}, "error", "schema.yaml", "rename it to schema.json"),
        ({"groups/notes.txt": ""}, "warning", "groups/notes.txt", "only .yaml is read"),
        ({"groups/old/10-a.yaml": ""}, "warning", "groups/old/10-a.yaml", "folders within it"),
        ({"global.yaml": "a: [\n"}, "error", "global.yaml:2:1", "not YAML"),
        ({"global.yaml": b"\xff"}, "error", "global.yaml:1:1", "UTF-8"),
        ({"global.yaml": "a: " + "x" * 300_000}, "error", "global.yaml:1:1", "262144"),
        ({"schema.json": "{\n"}, "error", "schema.json:2:1", "not JSON"),
        ({"golden/a.yaml": "a: *b"}, "error", "golden/a.yaml:1:4", "*b"),
        ({"groups/10-a.yaml": ""}, "error", "groups/10-a.yaml:", "no selector"),
        ({"groups/10-a.yaml": "selector:\n"}, "error", "groups/10-a.yaml:1", "no selector"),
        ({"groups/10-a.yaml": "\nselector: 5"}, "error", "groups/10-a.yaml:2", "5 (an integer)"),
        ({"groups/10-a.yaml": "selector: x in ("}, "error", "groups/10-a.yaml:1", "character 7"),
        ({"groups/10-a.yaml": GROUP + "a: 1"}, "error", "groups/10-a.yaml:2", "under values:"),
        ({"groups/10-a.yaml": GROUP + "values: 1"}, "error", "groups/10-a.yaml:2", "a mapping"),
        ({"groups/10-gpu2.yaml": GROUP, "groups/10-gpu1.yaml": GROUP}, "warning",
         "groups/10-gpu2.yaml", "has the number of groups/10-gpu1.yaml"),
        ({"fleets/prod.yaml": None}, "warning", "fleets/prod.yaml", "is missing"),
        ({"global.yaml": "a:\n  k: secret://env\n"}, "error", "global.yaml:2: error: a.k:", "env/"),
        ({"global.yaml": "a:\n  k: [secret:///x]"}, "error", "global.yaml:2: error: a.k:", "env/"),
        ({"global.yaml": "a: [secret://vault/x, secret://file//etc/k, my secret://x]"}, "", "", ""),
        ({"agents/a.yaml": ""}, "warning", "agents/a.yaml", "instances/"),
        ({"group/a.yaml": ""}, "warning", "group/a.yaml", "groups/"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(
    made: MadeRepository,
    files: Mapping[str, str | bytes | None],
    severity: str,
    place: str,
    said: str,
) -> None:
    made.commit({"global.yaml": "a: 1\n", "fleets/prod.yaml": ""})
    tree = read(made, files)
    if not severity:
        assert tree.problems == []
        return
    (problem,) = tree.problems
    assert problem.severity == severity
    assert str(problem).startswith(place)
    assert said in str(problem)
    assert str(problem).isprintable()


def test_all_problems_are_collected(made: MadeRepository) -> None:
    tree = read(
        made,
        {
            "global.yaml": "a: 1\na: 2\n",
            "groups/10-a.yaml": "values: 1\nb: 1\n",
            "instances/x.yaml": "a: [",
            "instances/y.yaml": "a: 1\n",
        },
    )
    assert [one.file for one in tree.problems if one.severity == "error"] == [
        "global.yaml",
        "groups/10-a.yaml",
        "groups/10-a.yaml",
        "groups/10-a.yaml",
        "instances/x.yaml",
    ]
    assert list(tree.layers) == ["instance.y"]


def test_links_in_our_folders_are_refused(made: MadeRepository) -> None:
    made.odd = {"instances/a.yaml": (LINK, b"b.yaml"), "elsewhere": (LINK, b"x")}
    tree = read(made, {"global.yaml": "", "fleets/prod.yaml": ""})
    (problem,) = tree.problems
    assert "instances/a.yaml: error: a symbolic link" in str(problem)


@pytest.mark.parametrize("files", [{"README.md": "x"}, {"fleets/test.yaml": "a: 1"}])
def test_an_empty_layout_is_told(made: MadeRepository, files: Mapping[str, str]) -> None:
    tree = read(made, files)
    assert [(one.severity, one.file) for one in tree.problems] == [("error", ".")]
    assert layout.LAYOUT in str(tree.problems[0])


def test_too_many_groups_are_refused(made: MadeRepository) -> None:
    groups = {f"groups/{n % 100:02}-g{n}.yaml": GROUP for n in range(layers.MAX_GROUPS + 1)}
    tree = read(made, {"fleets/prod.yaml": "", **groups})
    (error,) = [one for one in tree.problems if one.severity == "error"]
    assert "501 groups" in str(error)


def test_a_problem_shows_its_place() -> None:
    assert str(Problem("error", "f", "m")) == "f: error: m"
    assert str(Problem("warning", "f", "m", 3)) == "f:3: warning: m"
    assert str(Problem("error", "f", "m", 3, 4, "a.b")) == "f:3:4: error: a.b: m"
    assert str(Problem("error", "f\n", "m\x1b")) == "f?: error: m?"


def test_a_thousand_small_files_load_quickly(made: MadeRepository) -> None:
    files = {
        f"instances/i{n}.yaml": f"llm:\n  model: m{n}\n  port: {n}\ntools: [a, b]\n"
        for n in range(1000)
    }
    made.commit({"global.yaml": "", "fleets/prod.yaml": "", **files})
    for n in range(20):
        made.commit({f"instances/i{n}.yaml": f"a: {n}\n"})
    with Repository.open(made.path) as repository:
        begun = time.process_time()
        tree = load(repository, repository.resolve("main"), "prod")
        assert time.process_time() - begun < 3
        begun = time.process_time()
        for _ in range(100):
            assert repository.resolve("main") == tree.commit
        assert time.process_time() - begun < 1
    assert len(tree.layers) == 1002
