"""Settings: arguments, then the environment, then a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus import settings
from bus.errors import InvalidName, SettingsError
from bus.settings import BusSettings, load, read
from bus.topology import TopologySettings
from coordinator.settings import PROFILES, CoordinatorSettings
from coordinator.settings import load as load_coordinator


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings file but those that a test writes here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# where a value comes from


def test_defaults() -> None:
    assert load(environ={}) == BusSettings()


def test_argument_beats_environment_beats_file(empty_directory: Path) -> None:
    write(empty_directory / "fleetbus.toml", 'fleet = "file"\nname = "file"\nurl = "nats://file"')
    found = load({"fleet": "argument"}, {"FLEETBUS_FLEET": "env", "FLEETBUS_NAME": "env"})
    assert (found.fleet, found.name, found.url) == ("argument", "env", "nats://file")


def test_none_and_empty_count_as_not_given() -> None:
    assert load({"fleet": None}, {"FLEETBUS_FLEET": ""}).fleet == "dev"


def test_the_source_of_each_value_is_told(empty_directory: Path) -> None:
    write(empty_directory / "fleetbus.toml", 'name = "x"')
    _, source = read(BusSettings, "", {"fleet": "a"}, {"FLEETBUS_URL": "nats://b"})
    assert source == {
        "fleet": "argument fleet",
        "url": "environment FLEETBUS_URL",
        "name": "fleetbus.toml",
    }


def test_file_named_by_the_environment(empty_directory: Path) -> None:
    write(empty_directory / "fleetbus.toml", 'fleet = "here"')
    other = write(empty_directory / "other.toml", 'fleet = "other"')
    assert load(environ={"FLEETBUS_CONFIG": str(other)}).fleet == "other"


def test_file_in_the_home_directory(empty_directory: Path) -> None:
    write(empty_directory / "home/.config/fleetbus/fleetbus.toml", 'fleet = "home"')
    assert load(environ={}).fleet == "home"
    write(empty_directory / "fleetbus.toml", 'fleet = "here"')
    assert load(environ={}).fleet == "here"


def test_sections_of_one_file(empty_directory: Path) -> None:
    text = 'fleet = "f"\n[topology]\nreplicas = 3\n[coordinator]\ngrace = 2.0'
    write(empty_directory / "fleetbus.toml", text)
    assert load(environ={}).fleet == "f"
    assert read(TopologySettings, "topology", environ={})[0].replicas == 3
    assert read(CoordinatorSettings, "coordinator", environ={})[0].grace == 2.0


def test_variables_of_a_section_have_its_name() -> None:
    environ = {"FLEETBUS_TOPOLOGY_REPLICAS": "3", "FLEETBUS_REPLICAS": "5"}
    assert read(TopologySettings, "topology", environ=environ)[0].replicas == 3


def test_text_becomes_what_the_setting_is() -> None:
    environ = {"FLEETBUS_CONNECT_TIMEOUT": "2", "FLEETBUS_BUFFER_BYTES": "1024"}
    found = load(environ=environ)
    assert (found.connect_timeout, found.buffer_bytes) == (2.0, 1024)


# what is refused


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ({"conect_timeout": 3}, {}, "argument conect_timeout: there is no setting 'conect_time"),
        (
            {},
            {"FLEETBUS_CONNECT_TIMEOUT": "soon"},
            "environment FLEETBUS_CONNECT_TIMEOUT: setting connect_timeout: Expected `float`",
        ),
        ({"connect_timeout": 0}, {}, "setting connect_timeout must be more than 0"),
        ({"connect_timeout": -1.0}, {}, "setting connect_timeout must be more than 0"),
        ({}, {"FLEETBUS_CONNECT_TIMEOUT": "nan"}, "setting connect_timeout must be"),
        ({}, {"FLEETBUS_CONNECT_TIMEOUT": "inf"}, "setting connect_timeout must be"),
        ({"buffer_bytes": 1.5}, {}, "setting buffer_bytes: Expected `int`"),
        ({"fleet": 7}, {}, "setting fleet: Expected `str`"),
        ({"creds": "/no/such"}, {}, "argument creds: setting creds: there is no file /no/such"),
        ({}, {"FLEETBUS_TLS_CA": "/no/ca"}, "environment FLEETBUS_TLS_CA: setting tls_ca"),
        ({}, {"FLEETBUS_CONFIG": "/no/f.toml"}, "FLEETBUS_CONFIG: there is no file /no/f.toml"),
        ({"user": "ada"}, {}, "argument user: setting user needs the setting password too"),
    ],
)
def test_the_error_names_source_setting_and_rule(
    arguments: dict[str, Any], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load(arguments, environ)
    assert message in str(raised.value)


def test_an_unknown_setting_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="known are buffer_bytes, connect_timeout, creds"):
        load({"x": 1}, {})


def test_a_certificate_needs_its_key(empty_directory: Path) -> None:
    file = write(empty_directory / "cert.pem", "x")
    with pytest.raises(SettingsError, match="tls_cert and tls_key go together"):
        load({"tls_cert": str(file)}, {})


def test_an_illegal_fleet_name() -> None:
    with pytest.raises(InvalidName, match=r"fleet name 'a\.b'"):
        load({"fleet": "a.b"}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fleet = ", "cannot be read as TOML"),
        ('flet = "x"', "there is no setting 'flet'"),
        ("fleet = 7", "setting fleet: Expected `str`, got `int`"),
        ("\udcff", "cannot be read as TOML"),
    ],
)
def test_a_bad_file_is_named(empty_directory: Path, text: str, message: str) -> None:
    path = empty_directory / "fleetbus.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(SettingsError, match=r"^fleetbus\.toml: ") as raised:
        load(environ={})
    assert message in str(raised.value)


def test_a_section_that_is_no_table(empty_directory: Path) -> None:
    write(empty_directory / "fleetbus.toml", "topology = 3")
    with pytest.raises(SettingsError, match="topology"):
        read(TopologySettings, "topology", environ={})


# profiles


def test_every_profile_is_one_of_the_choices_and_changes_known_settings() -> None:
    choices = next(
        field for field in msgspec.structs.fields(CoordinatorSettings) if field.name == "profile"
    )
    assert set(PROFILES) == set(choices.type.__args__)
    for changes in PROFILES.values():
        assert set(changes) <= set(CoordinatorSettings.__struct_fields__)


def test_a_profile_changes_the_base_and_a_setting_beats_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_coordinator() == CoordinatorSettings()
    assert load_coordinator({"profile": "wan"}).grace == PROFILES["wan"]["grace"]
    assert load_coordinator({"profile": "wan", "grace": 0.3}).grace == 0.3
    monkeypatch.setenv("FLEETBUS_COORDINATOR_PROFILE", "edge")
    monkeypatch.setenv("FLEETBUS_COORDINATOR_MIN_INTERVAL", "7")
    found = load_coordinator()
    assert (found.profile, found.min_interval) == ("edge", 7.0)
    assert found.max_rate == PROFILES["edge"]["max_rate"]


@pytest.mark.parametrize("http", ["8080", "localhost", ":8080", "localhost:http", "h:70000"])
def test_http_must_be_host_and_port(http: str) -> None:
    with pytest.raises(SettingsError, match=r"is not host:port"):
        load_coordinator({"http": http})


# what it costs


def test_settings_load_without_pydantic() -> None:
    code = "import sys, agent_runtime, bus; print('pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(settings.__file__).parents[1],
    )
    assert done.stdout.strip() == "False"


def test_a_misspelt_section_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "fleetbus.toml"
    file.write_text("[topolgy]\nreplicas = 3\n")
    with pytest.raises(SettingsError, match="no section 'topolgy'; known are topology"):
        load(environ={"FLEETBUS_CONFIG": str(file)})


def test_a_misspelt_variable_of_a_section_is_refused() -> None:
    with pytest.raises(SettingsError, match="FLEETBUS_TOPOLOGY_TASK_BITES: there is no such"):
        read(TopologySettings, "topology", environ={"FLEETBUS_TOPOLOGY_TASK_BITES": "1"})
