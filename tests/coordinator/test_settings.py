"""What a coordinator may be told, and by whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus.errors import SettingsError
from coordinator.settings import PROFILES, CoordinatorSettings, load


@pytest.fixture(autouse=True)
def no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_without_anything_it_is_the_base() -> None:
    assert load() == CoordinatorSettings()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_changes_just_what_it_names(profile: str) -> None:
    found = msgspec.structs.asdict(load({"profile": profile}))
    base = msgspec.structs.asdict(CoordinatorSettings())
    assert found == {**base, **PROFILES[profile], "profile": profile}


def test_profiles_name_settings_that_exist_and_suit_them() -> None:
    for changes in PROFILES.values():
        msgspec.convert(changes, CoordinatorSettings, strict=True)


def test_slower_links_are_given_more_time() -> None:
    lan, wan, edge = (load({"profile": name}) for name in ("lan", "wan", "edge"))
    for field in ("grace", "min_interval", "probe_timeout", "refusal_wait"):
        assert getattr(lan, field) < getattr(wan, field) < getattr(edge, field)


def test_what_is_given_beats_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETBUS_COORDINATOR_PROFILE", "edge")
    monkeypatch.setenv("FLEETBUS_COORDINATOR_GRACE", "0.2")
    found = load({"max_rate": 5})
    # 0.2 is the base's own value: it counts because it was said.
    assert (found.grace, found.max_rate) == (0.2, 5.0)
    assert found.min_interval == PROFILES["edge"]["min_interval"]


def test_a_file_has_a_table_for_it(tmp_path: Path) -> None:
    (tmp_path / "fleetbus.toml").write_text(
        'fleet = "prod"\n[coordinator]\nprofile = "wan"\nmax_held = 7\n'
    )
    found = load()
    assert (found.profile, found.max_held, found.grace) == ("wan", 7, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "moon"}, "argument profile: setting profile: .*'moon'"),
        ({"grace": 0}, "setting grace must be more than 0, and finite"),
        ({"grace": float("inf")}, "setting grace must be more than 0, and finite"),
        ({"max_ask": "many"}, "argument max_ask: setting max_ask: Expected `int`"),
        ({"grcae": 1}, "there is no setting"),
        ({"http": "8080"}, "argument http: setting http: '8080' is not host:port"),
        ({"http": ":8080"}, "is not host:port"),
        ({"http": "localhost:"}, "is not host:port"),
        ({"http": "localhost:65536"}, "is not host:port"),
        ({"http": "localhost:http"}, "is not host:port"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(arguments)


@pytest.mark.parametrize("http", ["localhost:0", "127.0.0.1:8080", "[::1]:65535"])
def test_addresses(http: str) -> None:
    assert load({"http": http}).http == http
