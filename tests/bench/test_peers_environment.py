"""The environments of peers, and the program that installs them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.harness.errors import Missing
from bench.peers import environment as environments
from bench.peers.catalogue import PEERS
from bench.peers.environment import REQUIREMENTS, STAMP, Environment, known
from bench.peers.install import install, main


def test_every_peer_has_an_environment_and_redis_one_of_its_own() -> None:
    assert set(known()) == {peer.environment for peer in PEERS} | {"redis"}


@pytest.mark.parametrize("name", known())
def test_what_is_measured_is_pinned_to_a_range(name: str) -> None:
    first = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()[0]
    assert ">=" in first
    assert ",<" in first


def test_one_that_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"arq is missing: make bench-peers .*install arq"):
        Environment("arq", tmp_path).python()


def test_one_whose_requirements_have_changed_since_is_missing(tmp_path: Path) -> None:
    environment = Environment("arq", tmp_path)
    environment.directory.mkdir()
    (environment.directory / STAMP).write_text(environment.requirements.read_text())
    assert environment.python() == str(tmp_path / "arq" / "bin" / "python")
    (environment.directory / STAMP).write_text("arq==0.1\n")
    with pytest.raises(Missing):
        environment.python()


@pytest.mark.slow
def test_an_environment_is_made_with_an_interpreter_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    (tmp_path / "nothing.txt").write_text("# nothing\n")
    environment = Environment("nothing", tmp_path / "place")
    install(environment)
    assert environment.installed()
    done = subprocess.run(
        [environment.python(), "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.strip() == str(environment.directory)


@pytest.mark.slow
def test_one_that_cannot_be_installed_is_not_taken_for_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    (tmp_path / "wrong.txt").write_text(f"{tmp_path / 'no-such.whl'}\n")
    environment = Environment("wrong", tmp_path / "place")
    with pytest.raises(subprocess.CalledProcessError):
        install(environment)
    assert not environment.installed()


def test_an_unknown_name_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["arq", "sellerie"]) == 2
    assert "no peer sellerie; known are arq, autogen, celery" in capsys.readouterr().err
