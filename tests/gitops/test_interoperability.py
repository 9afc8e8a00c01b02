"""What git makes we read, and we come to the same answers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fleetbus.gitops.errors import NoSuchRef, TooBig
from fleetbus.gitops.repository import Repository

GIT = shutil.which("git")


@pytest.mark.skipif(GIT is None, reason="compares with git, which is not installed here")
def test_git_and_we_agree(tmp_path: Path) -> None:
    def git(*args: str, at: Path) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(
            [str(GIT), *who, *args], cwd=at, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.strip()

    work = tmp_path / "work"
    work.mkdir()
    git("init", "-q", "-b", "main", at=work)
    for n in range(12):
        (work / f"f{n % 4}").write_text(str(n))
        git("add", ".", at=work)
        git("commit", "-q", "-m", f"c{n}", at=work)
    for n in range(3):
        (work / "big").write_text("".join(f"line {k} of {n}\n" for k in range(5000)))
        git("add", ".", at=work)
        git("commit", "-q", "-m", f"big {n}", at=work)
    git("tag", "big", at=work)
    git("reset", "-q", "--hard", "HEAD~3", at=work)
    git("tag", "-a", "v1", "-m", "one", "HEAD~2", at=work)
    with Repository.open(work) as repository:
        assert repository.resolve("v1").id == git("rev-parse", "v1^{commit}", at=work)
        old = repository.resolve("main")
        git("gc", "-q", "--aggressive", "--prune=now", at=work)
        assert repository.resolve("main") == old
        paths = [f"f{n}" for n in range(4)]
        for path, commit in repository.last_changes(old, paths).items():
            assert commit.id == git("log", "-1", "--format=%H", "--", path, at=work)
        # Alike as they are, git has packed them as differences.
        for blob in repository.files(repository.resolve("big~1")).values():
            assert len(repository.read(blob, 10**6)) == int(git("cat-file", "-s", blob, at=work))
            with pytest.raises(TooBig):
                repository.read(blob, int(git("cat-file", "-s", blob, at=work)) - 1)
        git("reset", "-q", "--hard", "HEAD~3", at=work)
        (work / "f0").write_text("forced")
        git("commit", "-q", "-a", "-m", "forced", at=work)
        new = repository.resolve("main")
        assert new.id == git("rev-parse", "HEAD", at=work)
        assert not repository.is_ancestor(old.id, new.id)
    shallow = tmp_path / "shallow"
    git("clone", "-q", "--depth", "2", f"file://{work}", str(shallow), at=tmp_path)
    with Repository.open(shallow) as repository:
        tip = repository.resolve("origin/main")
        assert tip.id == new.id
        assert len(repository.log(tip, 99)) == 2
        assert set(repository.last_changes(tip, ["f0", "f1"])) == {"f0", "f1"}
        for missing in ("main~5", old.id):
            with pytest.raises(NoSuchRef, match="--unshallow"):
                repository.resolve(missing)
    git("worktree", "add", "-q", str(tmp_path / "other"), "v1", at=work)
    with Repository.open(tmp_path / "other") as repository:
        assert repository.resolve("HEAD").id == git("rev-parse", "v1^{commit}", at=work)
