"""URLs of repositories, and what is shown of them."""

from __future__ import annotations

import pytest

from fleetbus.gitops import remote


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:secret@host:8443/a/b.git?token=x#y", "https://host:8443/a/b.git"),
        ("https://token@host/a", "https://host/a"),
        ("https://a:p@ss@host/a", "https://host/a"),
        ("ssh://git:secret@host:22/a", "ssh://git@host:22/a"),
        ("git@host:a/b.git", "git@host:a/b.git"),
        ("file:///srv/a", "file:///srv/a"),
    ],
)
def test_credentials_are_never_shown(url: str, shown: str) -> None:
    assert remote.is_url(url)
    assert remote.without_credentials(url) == shown


@pytest.mark.parametrize("path", [".", "config", "../config", "/srv/config", "~/config", "a/b:c"])
def test_paths_are_no_urls(path: str) -> None:
    assert not remote.is_url(path)
