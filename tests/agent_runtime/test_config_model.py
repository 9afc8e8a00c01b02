"""What a model makes of a configuration, and the words in which it refuses one."""

from __future__ import annotations

import dataclasses
from typing import Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from agent_runtime import Agent
from agent_runtime.model import Model, explain
from bus.errors import CapabilityError
from tests.conftest import Join
from tests.support.configuring import Desk


class Llm(msgspec.Struct):
    model: str = "small"
    limit: int = 10


class Struct(msgspec.Struct):
    llm: Llm = msgspec.field(default_factory=Llm)


@dataclasses.dataclass
class Inner:
    model: str = "small"
    limit: int = 10


@dataclasses.dataclass
class Data:
    llm: Inner = dataclasses.field(default_factory=Inner)


class Typed(TypedDict):
    llm: NotRequired[Llm]


class PydanticLlm(pydantic.BaseModel):
    model: str = "small"
    limit: int = pydantic.Field(default=10, ge=1)


class Pydantic(pydantic.BaseModel):
    llm: PydanticLlm = PydanticLlm()


class Positional(msgspec.Struct, array_like=True):
    x: int = 1


KINDS = [Struct, Data, Typed, Pydantic, dict]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_model(join: Join, bus: Any, kind: Any) -> None:
    desk = Desk(bus)
    await desk.put("global", {"llm": {"model": "m", "limit": 3}})
    agent = Agent("a", config=None if kind is dict else kind)
    calls: list[Any] = []

    @agent.on_config("llm.model")
    async def see(new: Any, old: Any) -> None:
        calls.append((new, old))

    await join(agent)
    view: Any = agent.config
    assert isinstance(view, dict if kind is Typed else kind)
    llm = view["llm"] if isinstance(view, dict) else view.llm
    assert (llm["model"] if isinstance(llm, dict) else llm.model) == "m"
    assert calls == [("m", None)]


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        (Struct, {"llm": {"limit": "x"}}, "llm.limit: Expected `int`, got `str`"),
        (Data, {"llm": {"limit": "x"}}, "llm.limit: Expected `int`, got `str`"),
        (Typed, {"llm": {"limit": "x"}}, "llm.limit: Expected `int`, got `str`"),
        (Struct, {"llm": 1}, "llm: Expected `object`, got `int`"),
        (Pydantic, {"llm": {"limit": 0}}, "llm.limit: Input should be greater than or equal to 1"),
        (Pydantic, {"llm": 1}, "llm: Input should be "),
        (Pydantic, {"llm": {"limit": "x", "model": 1}}, "llm.model: Input should be a valid str"),
    ],
)
def test_reasons_name_the_path(kind: Any, values: dict[str, Any], reason: str) -> None:
    model = Model(kind, "agent a: config")
    with pytest.raises(Exception, match=r".") as raised:
        model.make(values)
    assert explain(raised.value, str).startswith(reason)


def test_plain_one_shares_nothing_with_what_it_was_made_from() -> None:
    values: dict[str, Any] = {"list": [1], "inner": {"x": 1}}
    made = Model(None, "").make(values)
    made["list"].append(2)
    made["inner"]["x"] = 2
    assert values == {"list": [1], "inner": {"x": 1}}


def test_many_problems_are_few_words() -> None:
    fields: dict[str, Any] = {f"f{n}": (int, ...) for n in range(20)}
    wide: Any = pydantic.create_model("Wide", **fields)
    with pytest.raises(pydantic.ValidationError) as raised:
        Model(wide, "").make({"f0": "SENSITIVE"})
    reason = explain(raised.value, str)
    assert reason.endswith("f4: Field required; and 15 more")
    assert "SENSITIVE" not in reason
    assert len(explain(ValueError("x" * 5000), str)) < 1100


@pytest.mark.parametrize("kind", [int, list[int], Positional, object])
def test_types_that_are_no_configuration(kind: Any) -> None:
    with pytest.raises(CapabilityError, match="agent a: config: "):
        Agent("a", config=kind)
