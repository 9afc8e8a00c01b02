"""Git repositories on this machine: their names, files and history."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dulwich.object_store import DiskObjectStore

from fleetbus.gitops import history
from fleetbus.gitops.errors import NoSuchRef, RepositoryError, TooBig
from fleetbus.gitops.repository import Commit, Repository
from tests.support.repositories import BEGIN, LINK, SUBMODULE, MadeRepository


@pytest.fixture(params=[False, True], ids=["tree", "bare"])
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "config", bare=request.param) as made:
        yield made


def test_a_commit_has_its_facts(made: MadeRepository) -> None:
    id_ = made.commit({"a": "1"}, "Set a\n\nBecause.\n", author="Zoë <zoe@example.org>")
    with Repository.open(made.path) as repository:
        commit = repository.resolve("main")
    assert (commit.id, commit.author, commit.summary) == (id_, "Zoë <zoe@example.org>", "Set a")
    assert commit.at_ms == BEGIN * 1000
    assert repository.location == str(made.path)


def test_commits_have_many_names(made: MadeRepository) -> None:
    first, second, third = (made.commit({"a": str(i)}, f"c{i}") for i in range(3))
    made.tag("light", first)
    made.tag("v1.0", second, annotated=True)
    made.branch("feature/x", first)
    merge = made.commit({"a": "m"}, "merge", parents=[third, first], branch="merged")
    names = {
        "main": third,
        "HEAD": third,
        "refs/heads/main": third,
        "light": first,
        "v1.0": second,
        "tags/v1.0": second,
        "feature/x": first,
        third: third,
        third[:7]: third,
        second[:12].upper(): second,
        "main~1": second,
        "HEAD~2": first,
        "main^^": first,
        "v1.0~": first,
        "merged^2": first,
        "merged^1~1": second,
        "main~0": third,
        "merged": merge,
    }
    with Repository.open(made.path) as repository:
        assert {name: repository.resolve(name).id for name in names} == names


@pytest.mark.parametrize(
    "ref",
    ["mian", "v2", "HEAD~9", "main^2", "0000000", "f" * 40, "a..b", "../../x", "x" * 5000, "\0",
     "refs/heads/none", "config", "objects", "ä"],
)  # fmt: skip
def test_a_name_that_nothing_has_is_refused_with_names_like_it(
    made: MadeRepository, ref: str
) -> None:
    made.commit({"a": "1"})
    made.branch("mine", made.commit({"a": "2"}))
    with Repository.open(made.path) as repository, pytest.raises(NoSuchRef) as caught:
        repository.resolve(ref)
    assert "main" in caught.value.near
    assert len(str(caught.value)) < 400


def test_an_empty_name_is_refused(made: MadeRepository) -> None:
    made.commit({"a": "1"})
    with (
        Repository.open(made.path) as repository,
        pytest.raises(RepositoryError, match="the ref is empty"),
    ):
        repository.resolve(" ")


def test_what_is_no_commit_is_refused(made: MadeRepository) -> None:
    made.commit({"a": "1"})
    with Repository.open(made.path) as repository:
        blob = repository.files(repository.resolve("main"))["a"]
        with pytest.raises(NoSuchRef):
            repository.resolve(blob)
    made.tag("blob", blob)
    with (
        Repository.open(made.path) as repository,
        pytest.raises(RepositoryError, match="is no commit"),
    ):
        repository.resolve("blob")


def test_a_repository_without_commits_says_so(made: MadeRepository) -> None:
    with Repository.open(made.path) as repository:
        for ref in ("main", "HEAD", "1234567"):
            with pytest.raises(RepositoryError, match="has no commits yet"):
                repository.resolve(ref)


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RepositoryError, match=r"no such folder"):
        Repository.open(tmp_path / "none")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(RepositoryError, match=r"git init|cannot be read"):
            Repository.open(path)


def test_only_commits_count(made: MadeRepository) -> None:
    made.commit({"a/b/c": "1", "d": "2", "e/f": "3"})
    (made.path / "d").write_text("not committed")
    (made.path / "g").write_text("not committed")
    with Repository.open(made.path) as repository:
        commit = repository.resolve("main")
        files = repository.files(commit)
        assert sorted(files) == ["a/b/c", "d", "e/f"]
        assert repository.read(files["d"], 100) == b"2"
        assert sorted(repository.files(commit, ["e"])) == ["d", "e/f"]


def test_links_and_submodules_are_no_files(made: MadeRepository) -> None:
    made.odd = {"groups/x": (LINK, b"/etc/passwd"), "sub": (SUBMODULE, b"1" * 40)}
    made.commit({"a": "1"})
    with Repository.open(made.path) as repository:
        listing = repository.listing(repository.resolve("main"))
    assert sorted(listing.files) == ["a"]
    assert listing.odd == {"groups/x": "symbolic link", "sub": "submodule"}


@pytest.mark.parametrize("packed", [False, True])
def test_a_big_file_is_not_unpacked(
    made: MadeRepository, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"small": 1, "empty": 0, "15": 15, "16": 16, "2047": 2047, "2048": 2048}
    made.commit({"big": b"x" * 5_000_000, **{name: b"y" * size for name, size in sizes.items()}})
    if packed:
        made.repo.object_store.pack_loose_objects()
    with Repository.open(made.path) as repository:
        files = repository.files(repository.resolve("main"))
        for name, size in sizes.items():
            assert len(repository.read(files[name], size)) == size
        with pytest.raises(RepositoryError, match="is missing"):
            repository.read("0" * 40, 10)
        monkeypatch.setattr(DiskObjectStore, "get_raw", None)
        for name, size in {"big": 5_000_000, **sizes}.items():
            with pytest.raises(TooBig) as caught:
                repository.read(files[name], size - 1)
            assert caught.value.size == size
            assert f"file {files[name][:12]} has" in str(caught.value)
        with pytest.raises(TooBig, match=r"file groups/10-x\.yaml has 5000000 bytes"):
            repository.read(files["big"], 10, "groups/10-x.yaml")


def asked(repository: Repository, tip: Commit, blob: str) -> list[Callable[[], object]]:
    """Everything that can be asked of a repository."""
    return [
        lambda: repository.resolve("main"),
        lambda: repository.resolve(tip.id[:12]),
        lambda: repository.files(tip),
        lambda: repository.listing(tip, ["x"]),
        lambda: repository.read(blob, 99),
        lambda: repository.last_changes(tip, ["a", "x/b"]),
        lambda: repository.is_ancestor(tip.id, tip.id),
        lambda: repository.log(tip, 9),
    ]


def test_a_repository_that_is_removed_meanwhile_is_told(made: MadeRepository) -> None:
    made.commit({"a": "1", "x/b": "2"})
    with Repository.open(made.path) as repository:
        tip = repository.resolve("main")
        questions = asked(repository, tip, repository.files(tip)["a"])
        for ask in questions:
            ask()
        shutil.rmtree(made.path)
        for ask in questions:
            with pytest.raises(
                RepositoryError, match=r"No such file.*check that the folder"
            ) as told:
                ask()
            assert told.value.location == str(made.path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        # What a disk or a network does, to whoever reads, root or not.
        (lambda file: file.symlink_to(file), "cannot be used .*check that the folder is there"),
        (lambda file: file.mkdir(), "cannot be used .*check that the folder is there"),
        (lambda file: file.write_bytes(b"no zlib"), "git fsck"),
        (lambda file: file.write_bytes(b""), "git fsck"),
        (lambda file: file.write_bytes(zlib.compress(b"blob 9")), "git fsck"),
    ],
    ids=["loop", "folder", "garbage", "empty", "cut"],
)
def test_what_cannot_be_read_is_told(
    made: MadeRepository, spoil: Callable[[Path], object], said: str
) -> None:
    id_ = made.commit({"a": "1", "x/b": "2"})
    with Repository.open(made.path) as whole:
        tip = whole.resolve("main")
        blob = whole.files(tip)["a"]
    for file in Path(made.repo.object_store.path).glob("??/*"):
        file.unlink()
        spoil(file)
    made.branch("main", id_)
    with Repository.open(made.path) as repository:
        for ask in asked(repository, tip, blob):
            with pytest.raises(RepositoryError, match=said):
                ask()


def test_refs_that_cannot_be_read_are_told(made: MadeRepository) -> None:
    made.commit({"a": "1"})
    made.remove("refs/heads/main")
    packed = Path(made.repo.commondir()) / "packed-refs"
    packed.symlink_to(packed)
    with (
        Repository.open(made.path) as repository,
        pytest.raises(RepositoryError, match=r"symbolic links.*check that the folder is there"),
    ):
        repository.resolve("main")


def test_an_open_repository_sees_what_comes_later(made: MadeRepository) -> None:
    made.commit({"a": "1"})
    with Repository.open(made.path) as repository:
        before = repository.resolve("main")
        later = made.commit({"a": "2"})
        assert repository.resolve("main").id == later
        made.repo.object_store.pack_loose_objects()
        made.repo.refs.pack_refs(all=True)
        last = made.commit({"a": "3"})
        assert repository.resolve("main").id == last
        assert repository.is_ancestor(before.id, last)
        assert not repository.is_ancestor(last, before.id)
        assert repository.is_ancestor(last, last)
        assert not repository.is_ancestor("0" * 40, last)


def test_a_forced_push_is_no_descendant(made: MadeRepository) -> None:
    root = made.commit({"a": "1"})
    lost = made.commit({"a": "2"})
    forced = made.commit({"a": "3"}, parents=[root])
    with Repository.open(made.path) as repository:
        assert repository.resolve("main").id == forced
        assert not repository.is_ancestor(lost, forced)


def test_a_file_has_the_commit_that_changed_it_last(made: MadeRepository) -> None:
    first = made.commit({"a": "1", "x/a": "1", "x/b": "1", "y/z/c": "1"})
    second = made.commit({"x/a": "2"})
    made.commit({"a": "2"})
    third = made.commit({"a": "1", "y/z/c": "2"})
    with Repository.open(made.path) as repository:
        tip = repository.resolve("main")
        changes = repository.last_changes(tip, list(made.files))
        assert {path: one.id for path, one in changes.items()} == {
            "a": third,
            "x/a": second,
            "x/b": first,
            "y/z/c": third,
        }


def test_a_merged_file_has_its_own_author(made: MadeRepository) -> None:
    root = made.commit({"a": "1", "b": "1", "c": "1"})
    ours = made.commit({"a": "2"}, author="Ann <a@x>")
    made.files = {"a": b"1", "b": b"1", "c": b"1"}
    theirs = made.commit({"b": "2"}, author="Bob <b@x>", parents=[root], branch="side")
    merge = made.commit({"a": "2", "c": "3"}, author="Merger <m@x>", parents=[ours, theirs])
    with Repository.open(made.path) as repository:
        changes = repository.last_changes(repository.resolve("main"), ["a", "b", "c"])
        assert [changes[path].id for path in "abc"] == [ours, theirs, merge]
        assert changes["b"].author == "Bob <b@x>"


def test_remembered_answers_are_those_of_a_new_walk(made: MadeRepository) -> None:
    paths = [f"i/{n}" for n in range(5)]
    made.commit(dict.fromkeys(paths, "0"))
    with Repository.open(made.path) as kept:
        for n in range(30):
            path = paths[n * 7 % 5]
            parents = None
            if n % 10 == 9:  # history is rewritten now and then
                parents = [kept.resolve("main~3").id]
            made.commit({path: str(n)}, parents=parents)
            tip = kept.resolve("main")
            with Repository.open(made.path) as fresh:
                assert kept.last_changes(tip, paths) == fresh.last_changes(tip, paths)


def test_a_walk_is_bounded(made: MadeRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    made.commit({"old": "1", "new": "1"})
    new = made.commit({"new": "2"})
    for n in range(10):
        made.commit({"other": str(n)})
    monkeypatch.setattr(history, "MAX_COMMITS", 11)
    with Repository.open(made.path) as repository:
        tip = repository.resolve("main")
        changes = repository.last_changes(tip, ["old", "new"])
        assert changes["new"].id == new
        assert changes["old"] == tip


def test_clocks_that_go_backwards_do_no_harm(made: MadeRepository) -> None:
    first = made.commit({"a": "1", "b": "1"}, at=BEGIN + 9000)
    second = made.commit({"a": "2"}, at=BEGIN + 10)
    made.commit({"c": "2"}, at=BEGIN + 5000)
    with Repository.open(made.path) as repository:
        changes = repository.last_changes(repository.resolve("main"), ["a", "b"])
        assert [changes[path].id for path in "ab"] == [second, first]


def test_the_log_is_newest_first(made: MadeRepository) -> None:
    ids = [made.commit({"a": str(n)}, f"c{n}") for n in range(5)]
    with Repository.open(made.path) as repository:
        tip = repository.resolve("main")
        assert [one.id for one in repository.log(tip, 3)] == ids[:1:-1]
        assert [one.summary for one in repository.log(tip, 99)] == ["c4", "c3", "c2", "c1", "c0"]
