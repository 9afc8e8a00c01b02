"""Secrets: resolved on the agent, and in nothing that it says."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from agent_runtime import Agent, secrets
from agent_runtime.secrets import Redactor, Unresolved, resolve, resolvers
from bus import Bus
from bus.errors import CapabilityError
from bus.testing import eventually
from tests.conftest import Join
from tests.support.configuring import Desk

SECRET = 'hunter2-"quoted"-\\and-ü'


class Shop(msgspec.Struct):
    key: str = ""
    count: int = 0


class Level(pydantic.BaseModel):
    key: str = ""
    level: pydantic.conint(ge=0) = 0  # type: ignore[valid-type]  # pydantic's own way

    @pydantic.field_validator("key")
    @classmethod
    def quotes_it(cls, value: str) -> str:
        if value:
            raise ValueError(f"bad key {value!r}")
        return value


@pytest.fixture
async def desk(bus: Bus) -> Desk:
    return await Desk(bus).start()


async def resolved(values: dict[str, Any], **own: secrets.Resolver) -> dict[str, Any]:
    return (await resolve(values, resolvers(own))).values


async def test_environment_and_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_KEY", "from env")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text("from file\n")
    (tmp_path / "lines").write_text("one\ntwo\r\n")
    values = {
        "plain": "x",
        "env": "secret://env/A_KEY",
        "file": f"secret://file{tmp_path}/key",
        "absolute": f"secret://file/{tmp_path}/key",
        "home": "secret://file/~/key",
        "list": ["secret://env/A_KEY", {"deep": f"secret://file{tmp_path}/lines"}],
        "within": "not secret://env/A_KEY",
        "number": 1,
    }
    assert await resolved(values) == {
        "plain": "x",
        "env": "from env",
        "file": "from file",
        "absolute": "from file",
        "home": "from file",
        "list": ["from env", {"deep": "one\ntwo"}],
        "within": "not secret://env/A_KEY",
        "number": 1,
    }
    assert values["env"] == "secret://env/A_KEY"


async def test_own_resolvers() -> None:
    asked: list[str] = []

    def plain(rest: str) -> str:
        asked.append(rest)
        return f"plain {rest}"

    async def later(rest: str) -> str:
        await asyncio.sleep(0)
        return f"later {rest}"

    values = {"a": "secret://vault/x/y", "b": "secret://vault/x/y", "c": "secret://later/z?a=b"}
    assert await resolved(values, vault=plain, later=later) == {
        "a": "plain x/y",
        "b": "plain x/y",
        "c": "later z?a=b",
    }
    assert asked == ["x/y"]
    assert await resolved({"a": "secret://l/z"}, l=lambda rest: later(rest)) == {"a": "later z"}


def fails(rest: str) -> str:
    raise OSError("the vault is sealed")


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("secret://env/NOT_THERE", "secret://env/NOT_THERE: the agent's environment has no such"),
        ("secret://env/", "secret://env/: write secret://<scheme>/<rest>"),
        ("secret://", "secret://: write secret://<scheme>/<rest>"),
        ("secret://Env/X", "secret://Env/X: write secret://<scheme>/<rest>"),
        ("secret://nope/X", "this agent has no resolver 'nope'; it has env, failing, file, odd"),
        ("secret://file/not/there", "secret://file/not/there: the file cannot be read: No such"),
        ("secret://file/TMP", ": the file cannot be read: Is a directory"),
        ("secret://file/TMP/pipe", ": it is not a regular file"),
        ("secret://file/TMP/big", ": the file is larger than 65536 bytes"),
        ("secret://file/TMP/binary", ": the file is not UTF-8 text"),
        ("secret://file/a\0b", ": it is not a path: "),
        ("secret://failing/x", "resolver 'failing' failed with OSError: the vault is sealed"),
        ("secret://odd/x", "resolver 'odd' returned int: a secret is text"),
    ],
)
async def test_what_cannot_be_resolved(tmp_path: Path, reference: str, text: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(b"x" * (secrets.LARGEST + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    written = reference.replace("TMP", str(tmp_path))
    odd: Any = len
    with pytest.raises(Unresolved) as raised:
        await resolved({"x": [written]}, failing=fails, odd=odd)
    assert text in str(raised.value)
    assert str(raised.value).startswith(written)


async def test_resolver_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "TIME", 0.05)

    async def slow(rest: str) -> str:
        await asyncio.sleep(60)
        return rest

    with pytest.raises(Unresolved, match=r"resolver 'slow': it did not return within 0\.05 s"):
        await resolved({"x": "secret://slow/x"}, slow=slow)


@pytest.mark.parametrize("scheme", ["", "A", "a b", "a/b", "1a"])
def test_schemes_that_cannot_be_written(scheme: str) -> None:
    with pytest.raises(CapabilityError, match="secrets: scheme"):
        Agent("a", secrets={scheme: fails})


def test_resolver_must_be_a_function() -> None:
    value: Any = "x"
    with pytest.raises(CapabilityError, match="secrets: 'vault' is str"):
        Agent("a", secrets={"vault": value})


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        repr(SECRET),
        msgspec.json.encode(SECRET).decode(),
        f"https://user:{SECRET}@host/",
        "https://u:hunter2-%22quoted%22-%5Cand-%C3%BC@host",
    ],
)
def test_redactor_finds_it_however_it_is_written(shown: str) -> None:
    clean = Redactor([SECRET, "abc"])(f"error: {shown}, and abc")
    assert "hunter2" not in clean
    assert "[secret]" in clean
    assert clean.endswith("and abc")  # shorter than anything worth hiding


@pytest.mark.parametrize(
    ("shown", "clean"),
    [
        ("it is 'abcdefgh…", "it is '[secret]…"),
        ("it is 'abcd…", "it is '[secret]…"),
        ("it is 'abc…", "it is 'abc…"),
        ("value='abcdefgh...mnopmnop', type=str", "value='[secret]...[secret]', type=str"),
        ("value='abc...nopmnop', type=str", "value='abc...[secret]', type=str"),
        ("abcdabcdefghij…", "abcd[secret]…"),
        ("abcdefgh and xyz…", "abcdefgh and xyz…"),
    ],
)
def test_redactor_finds_what_is_left_of_it_in_a_shortened_text(shown: str, clean: str) -> None:
    assert Redactor(["abcdefghijklmnopmnop", "other"])(shown) == clean


def test_redactor_finds_lines_of_it() -> None:
    clean = Redactor(["-----BEGIN KEY-----\nc2VjcmV0\n-----END KEY-----"])
    assert clean("line 2: 'c2VjcmV0' is bad") == "line 2: '[secret]' is bad"


@pytest.mark.parametrize("model", [Shop, Level])
async def test_no_secret_in_anything_it_says(
    desk: Desk,
    join: Join,
    model: type[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    agent = Agent("a", config=model)

    @agent.on_config("key")
    async def see(new: str, old: str | None) -> None:
        if new:
            raise ValueError(f"cannot log in with {new!r}")

    runtime = await join(agent)
    with caplog.at_level(logging.DEBUG, "fleetbus"):
        await desk.put("global", {"key": "secret://env/A_KEY"})
        await eventually(lambda: desk.events)
        assert "[secret]" in desk.events[0].data["reason"]
        # It takes the place of something that was meant to be a number.
        await desk.put("global", {"count": "secret://env/A_KEY", "level": "secret://env/A_KEY"})
        await eventually(lambda: len(desk.events) == 2)
        values = {"key": "secret://env/A_KEY", "level": "secret://env/A_KEY"}
        reply = await desk.ask("a", "config-override", {"values": values, "ttl": 60})
        assert reply.state == "failed"
        await desk.report("a")
        await runtime.presence.tell("config.test", {})
        await eventually(lambda: any(e.kind == "config.test" for e in desk.events))
    said = [*desk.texts, caplog.text.encode(), repr(runtime.configured.current.in_force).encode()]
    assert all(b"hunter2" not in text for text in said)


async def test_secret_in_force_is_in_no_report(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    await desk.put("global", {"key": "secret://env/A_KEY"})
    agent = Agent("a", config=Shop)

    @agent.on_config("count")
    async def see(new: int, old: int | None) -> None:
        if new == 7:
            raise ValueError(f"of the old one: {agent.config}")

    runtime = await join(agent)
    with caplog.at_level(logging.DEBUG, "fleetbus"):
        assert agent.config.key == SECRET
        values = {"key": "secret://env/A_KEY"}
        await desk.ask("a", "config-override", {"values": values, "ttl": 60})
        report = await desk.report("a")
        assert report.overrides[0].value == "secret://env/A_KEY"
        monkeypatch.setenv("A_KEY", "another one")
        await desk.put("global", {"count": 7})
        await eventually(lambda: desk.events)
        assert "of the old one: Shop(key='[secret]'" in desk.events[0].data["reason"]
    said = [*desk.texts, caplog.text.encode(), repr(runtime.configured.current.in_force).encode()]
    assert all(b"hunter2" not in text for text in said)
    assert repr(agent) == "<Agent a at default: no capabilities>"


async def test_secret_that_comes_later_is_tried_again(
    desk: Desk, join: Join, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agent_runtime.configuration.RETRY", (0.1, 0.2))
    agent = Agent("a")
    await join(agent)
    await desk.put("global", {"key": f"secret://file{tmp_path}/key"})
    await eventually(lambda: desk.events)
    assert desk.events[0].data["reason"] == (
        f"secret://file{tmp_path}/key: the file cannot be read: No such file or directory"
    )
    (tmp_path / "key").write_text("s3cret")
    await eventually(lambda: agent.config == {"key": "s3cret"})
    await eventually(lambda: len(desk.events) == 2)
    assert [one.kind for one in desk.events] == ["config.rejected", "config.accepted"]
