"""Repositories that are elsewhere: mirrored, fetched, and unreachable."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich import client as git

from fleetbus.gitops import packs, remote
from fleetbus.gitops.errors import AccessRefused, NoSuchRef, RepositoryError, Unreachable
from fleetbus.gitops.mirrors import default_cache
from fleetbus.gitops.repository import Repository
from tests.support.git_server import dripping_port, git_server, silent_port
from tests.support.repositories import MadeRepository

SSH = """#!{python}
import os, sys
from dulwich.server import UploadPackHandler, serve_command, FileSystemBackend
path = sys.argv[-1].split("'")[1]
sys.exit(serve_command(UploadPackHandler, ["git-upload-pack", path], FileSystemBackend("/")))
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[MadeRepository]:
    with MadeRepository(tmp_path / "config.git", bare=True) as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def nobody_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings, credentials or proxy of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(git, "DEFAULT_GIT_CREDENTIALS_PATHS", [])
    for name in ("http_proxy", "https_proxy", "all_proxy", "GIT_SSH_COMMAND"):
        monkeypatch.delenv(name, raising=False)


def follow(made: MadeRepository, url: str, cache: Path) -> None:
    """A mirror of ``made`` by ``url`` has at all times what was there at the last fetch."""
    with Repository.open(url, cache) as repository:
        repository.fetch(20)
        with pytest.raises(RepositoryError, match="has no commits yet"):
            repository.resolve("main")
        first = made.commit({"a": "1"}, "first")
        made.tag("v1", first, annotated=True)
        made.branch("old", first)
        with pytest.raises(RepositoryError):
            repository.resolve("main")
        repository.fetch(20)
        assert {repository.resolve(ref).id for ref in ("main", "HEAD", "v1", "origin/old")} == {
            first
        }
        lost = made.commit({"a": "2"}, "lost")
        repository.fetch(20)
        assert repository.resolve("main").id == lost
        forced = made.commit({"a": "3", "b": "1"}, "forced", parents=[first])
        made.remove("refs/heads/old")
        repository.fetch(20)
        tip = repository.resolve("main")
        assert tip.id == forced
        assert not repository.is_ancestor(lost, forced)
        assert repository.read(repository.files(tip)["a"], 10) == b"3"
        with pytest.raises(NoSuchRef):
            repository.resolve("old")
        made.branch("other", first)
        made.head("other")
        repository.fetch(20)
        assert repository.resolve("HEAD").id == first
    with Repository.open(url, cache) as again:  # nothing was fetched: it is all in the mirror
        assert again.resolve("main").id == forced
    assert len(list(cache.iterdir())) == 1


def test_a_local_url_is_followed(made: MadeRepository, cache: Path) -> None:
    follow(made, f"file://{made.path}", cache)


def test_a_server_is_followed(made: MadeRepository, cache: Path) -> None:
    with git_server(made.path) as url:
        follow(made, url, cache)


def ssh_command(folder: Path, text: str) -> str:
    script = folder / "ssh"
    script.write_text(text.format(python=sys.executable))
    script.chmod(0o755)
    return str(script)


def test_ssh_is_followed(
    made: MadeRepository, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh_command(tmp_path, SSH))
    follow(made, f"git@localhost:{made.path}", cache)


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("git@host: Permission denied (publickey).", AccessRefused),
        ("Host key verification failed.", AccessRefused),
        ("ssh: Could not resolve hostname host", Unreachable),
        ("ERROR: Repository not found.", RepositoryError),
    ],
)
def test_what_ssh_says_is_told(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    kind: type[RepositoryError],
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh_command(tmp_path, f"#!/bin/sh\necho '{says}' >&2\n"))
    with (
        Repository.open("ssh://git@host/config.git", cache) as repository,
        pytest.raises(kind) as caught,
    ):
        repository.fetch(10)
    assert type(caught.value) is kind
    assert says.removeprefix("ERROR: ").rstrip(".") in str(caught.value)


def test_ssh_that_hangs_is_killed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    hang = f"#!/bin/sh\necho $$ > {pid}\nexec sleep 600\n"
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh_command(tmp_path, hang))
    with Repository.open("ssh://git@host/config.git", cache) as repository:
        with pytest.raises(Unreachable, match="within 1 s"):
            repository.fetch(1)
        quiet()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_missing_ssh_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", "/nowhere/ssh")
    with (
        Repository.open("git@host:config.git", cache) as repository,
        pytest.raises(RepositoryError, match="no ssh on this machine"),
    ):
        repository.fetch(10)


def test_credentials_come_from_the_url_or_the_store(
    made: MadeRepository, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = made.commit({"a": "1"})
    with git_server(made.path, user="ann", password="s/e c") as url:
        with Repository.open(url, cache) as repository:
            with pytest.raises(AccessRefused, match="git-credentials"):
                repository.fetch(10)
            with_them = url.replace("//", "//ann:s%2Fe%20c@")
            with Repository.open(with_them, cache) as other:
                other.fetch(10)
                assert other.location == url
                assert other.resolve("main").id == id_
        wrong = url.replace("//", "//ann:hidden@")
        with (
            Repository.open(wrong, cache) as repository,
            pytest.raises(AccessRefused) as caught,
        ):
            repository.fetch(10)
        assert "hidden" not in str(caught.value)
        store = tmp_path / "store"
        store.write_text(with_them + "\n")
        monkeypatch.setattr(git.get_credentials_from_store, "__defaults__", (None, [store]))
        with Repository.open(url, cache) as repository:
            repository.fetch(10)


def test_a_port_where_nobody_listens_is_unreachable(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        Repository.open(f"http://ann:hidden@127.0.0.1:{port}/x", cache) as repository,
        pytest.raises(Unreachable) as caught,
    ):
        repository.fetch(10)
    assert f"http://127.0.0.1:{port}/x" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_server_that_says_nothing_costs_the_timeout_once(cache: Path) -> None:
    with silent_port() as port, Repository.open(f"http://127.0.0.1:{port}/x", cache) as repository:
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            repository.fetch(1)
        assert time.monotonic() - begun < 4
        quiet()


def test_a_server_that_drips_costs_the_timeout_once(cache: Path) -> None:
    with dripping_port(0.1) as port:
        url = f"http://127.0.0.1:{port}/x"
        with Repository.open(url, cache) as repository:
            begun = time.monotonic()
            with pytest.raises(Unreachable, match="within 1 s"):
                repository.fetch(1)
            assert time.monotonic() - begun < 4
        # It drips on, and nobody listens.
        quiet()


def test_what_cannot_be_broken_off_is_not_tried_for_ever(
    made: MadeRepository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Opening it waits until somebody writes, as a file system may that hangs.
    pipe = made.path / "packed-refs"
    os.mkfifo(pipe)
    monkeypatch.setattr(remote, "MAX_LEFT", 1)
    with Repository.open(f"file://{made.path}", cache) as repository:
        try:
            with pytest.raises(Unreachable, match=r"within 0\.5 s"):
                repository.fetch(0.5)
            with pytest.raises(Unreachable, match="1 earlier attempts"):
                repository.fetch(0.5)
        finally:
            os.close(os.open(pipe, os.O_RDWR))
            pipe.unlink()
    quiet()


def quiet() -> None:
    """Wait for what a fetch left behind."""
    for thread in threading.enumerate():
        if thread.name == "fleetbus-fetch":
            thread.join(10)
            assert not thread.is_alive()


def test_what_serves_no_repository_is_told(made: MadeRepository, cache: Path) -> None:
    with git_server(made.path) as url:
        for wrong in (url.replace("config", "other"), f"file://{made.path}-other"):
            with (
                Repository.open(wrong, cache) as repository,
                pytest.raises(RepositoryError, match="no Git repository"),
            ):
                repository.fetch(10)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("git://host/x", "is not supported"),
        ("ftp://host/x", "is not supported"),
        ("https:///x", "names no host"),
        ("https://host:port/x", "not a URL"),
        ("ssh://-oProxyCommand=x/y", "host"),
    ],
)
def test_urls_that_are_none_of_ours_are_refused(cache: Path, url: str, said: str) -> None:
    with (
        Repository.open(url, cache) as repository,
        pytest.raises(RepositoryError, match=said),
    ):
        repository.fetch(5)


def test_a_mirror_that_cannot_be_written_is_told(made: MadeRepository, cache: Path) -> None:
    url = f"file://{made.path}"
    made.commit({"a": "1"})
    with Repository.open(url, cache) as repository:
        (mirror,) = cache.iterdir()
        # No network is to blame.
        (mirror / "objects/pack").rmdir()
        (mirror / "objects/pack").write_text("")
        with pytest.raises(RepositoryError, match=r"cannot be used .*its disk works") as caught:
            repository.fetch(10)
        assert not isinstance(caught.value, Unreachable)
        shutil.rmtree(mirror)
        with pytest.raises(RepositoryError, match=r"cannot be used .*No such file"):
            repository.fetch(10)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_many_fetches_keep_few_packs_and_descriptors_open(
    made: MadeRepository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "LIMIT", 5)
    most, commits = 0, []
    text = "".join(f"line {n}\n" for n in range(200))
    with Repository.open(f"file://{made.path}", cache) as repository:
        (mirror,) = cache.iterdir()
        before = descriptors()
        for n in range(40):
            commits.append(made.commit({"a": str(n), "big": f"{text}{n}\n"}))
            repository.fetch(20)
            tip = repository.resolve("main")
            assert tip.id == commits[-1]
            repository.last_changes(tip, ["a", "big"])
            most = max(most, descriptors() - before)
            assert len([*mirror.glob("objects/pack/*.pack")]) <= 6
        # Four for each pack.
        assert most <= 4 * 6
        tip = repository.resolve("main")
        assert [one.id for one in repository.log(tip, 99)] == commits[::-1]
        for n, commit in enumerate(commits):
            files = repository.files(repository.resolve(commit))
            assert repository.read(files["a"], 100) == str(n).encode()
            assert repository.read(files["big"], 10_000) == f"{text}{n}\n".encode()
    assert descriptors() <= before
    if git_itself := shutil.which("git"):
        check = [git_itself, "fsck", "--strict", "--full"]
        done = subprocess.run(check, cwd=mirror, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_spoilt_mirror_is_told(made: MadeRepository, cache: Path) -> None:
    url = f"file://{made.path}"
    made.commit({"a": "1"})
    with Repository.open(url, cache) as repository:
        repository.fetch(10)
    (mirror,) = cache.iterdir()
    shutil.rmtree(mirror / "objects")
    with pytest.raises(RepositoryError, match="remove that folder"):
        Repository.open(url, cache)


def test_fetching_what_is_there_is_nothing(made: MadeRepository) -> None:
    id_ = made.commit({"a": "1"})
    with Repository.open(made.path) as repository:
        repository.fetch(0.001)
        assert repository.resolve("main").id == id_


def test_mirrors_are_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache() == tmp_path / ".cache/fleetbus/repositories"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/x")
    assert default_cache() == Path("/var/x/fleetbus/repositories")
