"""The configurations of a hub and of a site, checked by the real server and held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bus import sites
from bus.errors import InvalidName, SettingsError
from bus.subjects import Subjects
from fleetbus.site_folder import write
from tests.deploy.servers import NATS, SECRETS, check, turn_on


async def test_hub_is_valid(nats_dir: Path) -> None:
    code, output = await check(nats_dir / "hub.conf", SECRETS)
    assert code == 0, output


async def test_hub_is_valid_with_everything_on(nats_dir: Path, certificates: Path) -> None:
    path = nats_dir / "hub.conf"
    path.write_text(turn_on(path.read_text()))
    code, output = await check(path, SECRETS)
    assert code == 0, output


async def test_leaf_is_valid(nats_dir: Path) -> None:
    code, output = await check(nats_dir / "leaf.conf", {"SITE_SEED": _seed()})
    assert code == 0, output


def test_hub_allows_a_site_what_the_code_says() -> None:
    text = (NATS / "hub.conf").read_text()
    user = sites.render_user(Subjects("prod"), "berlin", "nkey: KEY").strip()
    squeezed = re.sub(r"\s+", " ", text)
    head, _, tail = re.sub(r"\s+", " ", user).partition("nkey: KEY")
    assert head in squeezed
    assert tail in squeezed


def test_leaf_is_what_site_init_writes() -> None:
    made = sites.render_leaf(
        "berlin",
        "tls://hub.example:7422",
        "      nkey: $SITE_SEED",
        store="/var/lib/nats",
        listen="127.0.0.1:4222",
        password="",
    )
    assert (NATS / "leaf.conf").read_text() == made


@pytest.mark.parametrize("listen", ["127.0.0.1:4222", "0.0.0.0:4222"])
async def test_site_init_writes_a_folder_that_the_server_takes(tmp_path: Path, listen: str) -> None:
    folder = tmp_path / "berlin"
    said = list(write(folder, "berlin", "tls://hub.example", listen, "prod"))
    assert "fleetbus coordinator --fleet prod --site berlin" in "\n".join(said)
    seed = re.search(r"SITE_SEED=(\S+)", (folder / "leaf.env").read_text())
    assert seed
    code, output = await check(folder / "leaf.conf", {"SITE_SEED": seed[1]})
    assert code == 0, output
    assert all(one.stat().st_mode & 0o077 == 0 for one in folder.iterdir())
    public = re.search(r"nkey: (U\w{55})", (folder / "hub-user.conf").read_text())
    assert public
    with pytest.raises(SettingsError, match="not empty"):
        list(write(folder, "berlin", "tls://hub.example", listen, "prod"))


@pytest.mark.parametrize("name", ["hub", "a.b", "x" * 62])
def test_names_that_a_site_may_not_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidName):
        list(write(tmp_path / "x", name, "tls://hub.example", "127.0.0.1:4222", "prod"))
    assert not (tmp_path / "x").exists()


def test_the_name_of_the_hub_is_refused_with_the_reason() -> None:
    said = "site name 'hub' is not allowed: it means the hub itself; choose another"
    with pytest.raises(InvalidName, match=f"^{said}$"):
        sites.site_name("hub")


async def test_two_sites_on_one_machine_share_no_port(tmp_path: Path) -> None:
    found = []
    for number, name in enumerate(("one", "two")):
        listen = f"127.0.0.1:{4222 + number}"
        list(write(tmp_path / name, name, "tls://hub.example", listen, "prod"))
        text = (tmp_path / name / "leaf.conf").read_text()
        bare = "\n".join(line.partition("#")[0] for line in text.splitlines())
        found.append(set(re.findall(r"127\.0\.0\.1:\d+", bare)))
    assert found == [{"127.0.0.1:4222"}, {"127.0.0.1:4223"}]


@pytest.mark.parametrize(
    ("hub", "url"),
    [
        ("hub.example", "tls://hub.example:7422"),
        ("nats://10.0.0.1:99", "nats-leaf://10.0.0.1:99"),
        ("tls://[fd00::1]", "tls://[fd00::1]:7422"),
    ],
)
async def test_addresses_of_hubs(tmp_path: Path, hub: str, url: str) -> None:
    list(write(tmp_path / "x", "berlin", hub, "127.0.0.1:4222", "prod"))
    assert f'url: "{url}"' in (tmp_path / "x" / "leaf.conf").read_text()
    code, output = await check(tmp_path / "x" / "leaf.conf", {"SITE_SEED": _seed()})
    assert code == 0, output


@pytest.mark.parametrize(
    ("hub", "listen", "why"),
    [
        ("tls://me:secret@hub.example", "127.0.0.1:4222", "has a user"),
        ("http://hub.example", "127.0.0.1:4222", "is no URL"),
        ("tls://hub.example:x", "127.0.0.1:4222", "is no URL"),
        ("tls://hub.example", "127.0.0.1:70000", "is not host:port"),
        ("tls://hub.example", "4222", "is not host:port"),
    ],
)
def test_addresses_that_cannot_be(tmp_path: Path, hub: str, listen: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        list(write(tmp_path / "x", "berlin", hub, listen, "prod"))
    assert not (tmp_path / "x").exists()


def _seed() -> str:
    import nkeys

    return bytes(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)).decode()
