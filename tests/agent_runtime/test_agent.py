"""Declaring an agent: what is refused, and what the message says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agent_runtime import Agent, Task, offer
from agent_runtime.runtime import Runtime
from bus.errors import CapabilityError, FleetError, InvalidName, SettingsError
from bus.wire.card import MAX_SLOTS


async def echo(text: str) -> str:
    """Say it again."""
    return text


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a*", ">", "ä", "x" * 65, None, 7])
def test_names_that_are_no_tokens(name: Any) -> None:
    with pytest.raises(InvalidName, match=r"agent name .* use 1 to 64 characters"):
        Agent(name)
    if name is not None:  # not declared
        with pytest.raises(InvalidName, match="site name"):
            Agent("a", site=name)


@pytest.mark.parametrize("name", ["a", "A-Z_09", "x" * 64])
def test_names_that_are(name: str) -> None:
    assert Agent(name, site=name).id == name


def test_a_site_that_is_not_declared_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Agent("a").site == "default"
    monkeypatch.setenv("FLEETBUS_SITE", "berlin")
    assert Agent("a").site == "berlin"
    assert Agent("a", site="paris").site == "paris"
    monkeypatch.setenv("FLEETBUS_SITE", "new york")
    with pytest.raises(SettingsError, match="environment FLEETBUS_SITE: site name 'new york'"):
        Agent("a")
    monkeypatch.setenv("FLEETBUS_SITE", "")
    assert Agent("a").site == "default"


@pytest.mark.parametrize("slots", [0, -1, MAX_SLOTS + 1, 2.5, True, "4", None])
def test_slots_out_of_bounds(slots: Any) -> None:
    with pytest.raises(CapabilityError, match=r"agent a: slots .* is not a whole number of 1 to"):
        Agent("a", slots=slots)


@pytest.mark.parametrize("slots", [1, MAX_SLOTS])
def test_slots_within(slots: int) -> None:
    assert Agent("a", slots=slots).slots == slots


@pytest.mark.parametrize("labels", [{"gpu": 1}, {1: "x"}, {"gpu": None}])
def test_labels_are_text(labels: Any) -> None:
    with pytest.raises(InvalidName, match="label"):
        Agent("a", labels=labels)


def test_capability_is_named_and_described_by_its_function() -> None:
    agent = Agent("a")
    assert agent.capability()(echo) is echo
    advert = agent.offers["echo"].advert()
    assert (advert.name, advert.description, advert.version) == ("echo", "Say it again.", "0.0.0")
    assert repr(agent) == "<Agent a at default: echo>"
    assert repr(Agent("b")) == "<Agent b at default: no capabilities>"


def test_capability_twice() -> None:
    agent = Agent("a")
    agent.capability("say")(echo)
    with pytest.raises(CapabilityError, match="agent a offers 'say' already"):
        agent.capability("say")(echo)
    with pytest.raises(CapabilityError, match="agent a offers 'say' already"):
        agent.offer(offer(echo, "say"))


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_timeout_is_more_than_nothing(timeout: float) -> None:
    with pytest.raises(CapabilityError, match=r"capability echo: timeout .* is not more than 0 s"):
        Agent("a").capability(timeout=timeout)(echo)


def test_capability_needs_a_legal_name() -> None:
    with pytest.raises(InvalidName, match="capability name 'a b'"):
        Agent("a").capability("a b")(echo)
    with pytest.raises(InvalidName, match="capability name '<lambda>'"):
        Agent("a").capability()(lambda: 1)


def test_refused_capability_leaves_the_agent_as_it_was() -> None:
    agent = Agent("a")
    with pytest.raises(CapabilityError):
        agent.capability("many")(lambda *texts: texts)
    assert agent.offers == {}


def test_commands() -> None:
    agent = Agent("a")
    assert agent.command("reload")(echo) is echo
    with pytest.raises(CapabilityError, match="agent a has a command 'reload' already"):
        agent.command("reload")(echo)
    with pytest.raises(InvalidName, match="command name 're load'"):
        agent.command("re load")(echo)


@pytest.mark.parametrize("name", sorted(Runtime.BUILT_IN))
def test_built_in_commands_cannot_be_replaced(name: str) -> None:
    with pytest.raises(CapabilityError, match=f"has a command '{name}' already"):
        Agent("a").command(name)(echo)


def test_a_command_is_neither_a_task_nor_a_stream() -> None:
    def follow() -> Any:
        yield 1

    def work(task: Task) -> None: ...

    for handler in (follow, work):
        with pytest.raises(CapabilityError, match="command x: use a plain or async function"):
            Agent("a").command("x")(handler)


def test_all_that_is_refused_is_a_fleet_error() -> None:
    assert issubclass(CapabilityError, FleetError)
    assert issubclass(InvalidName, FleetError)


def test_importing_it_imports_nothing_heavy() -> None:
    """An agent on a small machine pays for what it uses."""
    program = """
import sys
import agent_runtime
heavy = ["pydantic", "prometheus_client", "opentelemetry", "typer", "click", "rich"]
heavy += ["yaml", "ruamel", "dulwich", "jsonschema"]
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
