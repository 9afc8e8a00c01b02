"""A mirror's packs are kept few, and nothing is lost on the way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dulwich.pack import Pack
from dulwich.repo import Repo

from fleetbus.gitops import packs
from fleetbus.gitops.repository import Repository
from tests.support.cli import ROOT
from tests.support.repositories import MadeRepository

GIT = shutil.which("git")

KILLED = """
import os, shutil, signal, sys
from dulwich.repo import Repo
from fleetbus.gitops import packs

packs.LIMIT = 3
for step in range(200):
    place = f"{sys.argv[2]}/{step}"
    shutil.copytree(sys.argv[1], place)
    if child := os.fork():
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            print(step)
            break
    else:
        left = [step]
        def hook(event, args):
            # All that changes what is on the disk.
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        repo = Repo(place)
        sys.addaudithook(hook)
        packs.tidy(repo)
        os._exit(0)
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "config.git", bare=True) as made:
        yield made


def packed(made: MadeRepository, count: int) -> list[str]:
    """Commits, each in a pack of its own."""
    ids = []
    for n in range(count):
        ids.append(made.commit({"a": str(n), f"f{n}": "x" * n}))
        made.repo.object_store.pack_loose_objects()
    return ids


def readable(place: Path, ids: list[str]) -> None:
    with Repository.open(place) as repository:
        for n, id_ in enumerate(ids):
            files = repository.files(repository.resolve(id_))
            assert repository.read(files["a"], 9) == str(n).encode()
            assert len(files) == n + 2


def names(place: Path) -> set[str]:
    return {one.name for one in place.glob("objects/pack/*")}


@pytest.mark.parametrize(
    ("sizes", "joined"),
    [
        ([], 0),
        ([5], 0),
        ([1, 1], 0),
        ([1, 1, 1], 3),
        ([1, 1, 1, 3], 3),
        ([1, 1, 2, 4, 8], 0),
        ([1, 1, 1, 2], 4),
        ([1] * 50 + [1000], 50),
        ([1] * 50 + [100, 100, 100], 53),
        ([1] * 50 + [60, 5000, 9000], 50),
    ],
)
def test_big_packs_are_left_alone(sizes: list[int], joined: int) -> None:
    found = packs.small({f"{n:02}": size for n, size in enumerate(sizes)})
    assert found == [f"{n:02}" for n in range(joined)]


def test_few_packs_are_left_as_they_are(made: MadeRepository) -> None:
    packed(made, 4)
    before = names(made.path)
    with closing(Repo(str(made.path))) as repo:
        packs.tidy(repo)
    assert names(made.path) == before


def test_what_reads_meanwhile_goes_on(
    made: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LIMIT", 3)
    ids = packed(made, 12)
    with Repository.open(made.path) as fresh, Repository.open(made.path) as used:
        # One knows the names of the packs, and has opened none.
        assert fresh.resolve("main").id == ids[-1]
        tip = used.resolve("main")
        used.last_changes(tip, [f"f{n}" for n in range(12)])
        with closing(Repo(str(made.path))) as repo:
            packs.tidy(repo)
        assert len(names(made.path)) <= 2 * 3
        for one in (fresh, used):
            assert [commit.id for commit in one.log(tip, 99)] == ids[::-1]
            assert len(one.files(tip)) == 13
            for blob in one.files(tip).values():
                one.read(blob, 99)


def test_a_pack_that_has_it_all_is_kept(
    made: MadeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LIMIT", 3)
    ids = packed(made, 5)
    aside = made.path.parent / "aside"
    shutil.copytree(made.path / "objects/pack", aside)
    with closing(Repo(str(made.path))) as repo:
        repo.object_store.repack()
    (whole,) = [one.removesuffix(".pack") for one in names(made.path) if one.endswith(".pack")]
    shutil.copytree(aside, made.path / "objects/pack", dirs_exist_ok=True)
    monkeypatch.setattr(packs, "small", sorted)
    with closing(Repo(str(made.path))) as repo:
        packs.tidy(repo)
    assert names(made.path) == {f"{whole}.pack", f"{whole}.idx"}
    readable(made.path, ids)


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is joined there")
def test_whoever_is_killed_loses_nothing(
    made: MadeRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LIMIT", 3)
    ids = packed(made, 5)
    places = tmp_path / "killed"
    places.mkdir()
    command = [sys.executable, "-c", KILLED, str(made.path), str(places)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    steps = int(done.stdout)
    # At least: a lock, a folder, ten packs read, two files, two moves, ten files removed.
    assert steps > 20
    monkeypatch.setattr(packs, "LIMIT", 0)
    for place in places.iterdir():
        readable(place, ids)
        with closing(Repo(str(place))) as repo:
            packs.tidy(repo)
        readable(place, ids)
        assert not [*place.glob("objects/joining-*")]
        left = names(place)
        assert len(left) <= 2 * 3
        assert {one.removesuffix(".idx") for one in left if one.endswith(".idx")} == {
            one.removesuffix(".pack") for one in left if one.endswith(".pack")
        }


@pytest.mark.skipif(GIT is None, reason="git makes differences, and is not installed here")
def test_differences_stay_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "LIMIT", 2)

    def git(*args: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(
            [str(GIT), *who, *args],
            cwd=work,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    work = tmp_path / "work"
    work.mkdir()
    git("init", "-q", "-b", "main")
    for n in range(24):
        # Nothing that zlib could make small by itself.
        lines = [f"{k * 2654435761 % 2**32:x}{(k * k + 7) * 40503 % 2**32:x}" for k in range(2000)]
        lines[n] = "changed"
        (work / "big").write_text("\n".join(lines))
        git("add", ".")
        git("commit", "-q", "-m", f"c{n}")
        if n % 6 == 5:
            git("repack", "-q", "-d")
    assert len(names(work / ".git")) >= 2 * 4
    sizes = sum(one.stat().st_size for one in (work / ".git/objects/pack").glob("*.pack"))
    monkeypatch.setattr(packs, "small", sorted)
    with closing(Repo(str(work))) as repo:
        packs.tidy(repo)
    (left,) = (work / ".git/objects/pack").glob("*.pack")
    assert left.stat().st_size < sizes * 1.1
    assert git("fsck", "--strict", "--full") == ""
    with (
        closing(Repo(str(work))) as repo,
        closing(Pack(str(left.with_suffix("")), object_format=repo.object_format)) as pack,
    ):
        assert len(pack) == 24 * 3
    with Repository.open(work) as repository:
        tip = repository.resolve("main~20")
        assert len(repository.read(repository.files(tip)["big"], 10**6)) > 20_000
