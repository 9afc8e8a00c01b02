"""Settings of an edge agent: where they come from, and what is said of those that are wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edge.settings import DEFAULTS, PREFIX, PROFILES, load


def test_defaults_are_those_of_a_lan() -> None:
    assert load({}) == {**DEFAULTS, **PROFILES["lan"]}
    assert load({"url": None, "ping": None}) == load({})


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_profiles(profile: str) -> None:
    made = load({"profile": profile})
    assert {name: made[name] for name in PROFILES[profile]} == PROFILES[profile]
    assert load({"profile": profile, "ping": 7, "reconnect_max": 0.5})["ping"] == 7.0
    assert made.keys() == load({}).keys()


def test_an_argument_goes_before_the_environment_and_that_before_a_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEETBUS_PROFILE", "edge")
    monkeypatch.setenv("FLEETBUS_FLEET", "prod")
    monkeypatch.setenv("FLEETBUS_PING", "20.5")
    monkeypatch.setenv("FLEETBUS_USER", "")
    assert load({})["reconnect_max"] == 120.0
    assert (load({})["fleet"], load({})["ping"], load({})["user"]) == ("prod", 20.5, "")
    assert load({"fleet": "dev", "ping": 1})["fleet"] == "dev"
    assert load({"ping": 1})["ping"] == 1.0
    assert load({"profile": "lan"})["reconnect_max"] == 5.0


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("url", "nats://a:1, tls://b:2", "nats://a:1, tls://b:2"),
        ("tls_first", "1", True),
        ("tls_first", "TRUE", True),
        ("tls_first", "no", False),
        ("largest", "1024", 1024),
        ("heap_reserve", "0", 0),
        ("reconnect_max", "1e1", 10.0),
    ],
)
def test_text_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), text)
    found = load({})[name]
    assert found == value
    assert type(found) is type(value)


WRONG: list[tuple[str, Any, str]] = [
    ("ping", "x", "x is not a number of more than 0"),
    ("ping", 0, "0 is not a number of more than 0"),
    ("ping", -1, "-1 is not a number of more than 0"),
    ("ping", "nan", "nan is not a number"),
    ("ping", float("inf"), "inf is not a number"),
    ("ping", True, "True is not a number"),
    ("ping", [], "[] is not a number"),
    ("largest", "1.5", "1.5 is not a whole number of more than 0"),
    ("largest", 1.5, "1.5 is not a whole number of more than 0"),
    ("largest", float("inf"), "inf is not a whole number"),
    ("heap_reserve", -1, "-1 is not a whole number from 0"),
    ("tls_first", "maybe", "maybe is not true or false"),
    ("tls_first", 2, "2 is not true or false"),
    ("creds", 5, "5 is not text"),
    ("profile", "moon", "moon is none of edge, lan, wan"),
    ("fleet", "a b", "a b: use 1 to 64 characters"),
    ("fleet", "sys", "fleet sys is the server's own"),
    ("url", "http://a:1", "server a:1: write nats://host:port"),
    ("url", "nats://", "write nats://host:port"),
    ("url", "nats://a:1,,nats://b:1", "write nats://host:port"),
    ("url", "nats://a:99999", "write nats://host:port"),
    ("url", "nats://a:0", "write nats://host:port"),
    ("url", "nats://a:x", "write nats://host:port"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_errors_name_the_setting_its_source_and_the_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as problem:
        load({name: value})
    assert f"argument {name}" in str(problem.value)
    if isinstance(value, str):
        monkeypatch.setenv(PREFIX + name.upper(), value)
        with pytest.raises(ValueError, match=re.escape(said)) as problem:
            load({})
        assert PREFIX + name.upper() in str(problem.value)


def test_a_setting_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no setting port; known are buffer, creds"):
        load({"port": 4222})


@pytest.mark.parametrize(
    "given", [{"password": 4711}, {"token": b"4711"}, {"url": "nats://u:4711@h:x"}]
)
def test_errors_tell_no_secret(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="argument") as problem:
        load(given)
    assert "4711" not in str(problem.value)
