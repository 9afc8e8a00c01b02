"""Signatures as contracts: what is offered, what is refused, what binds."""

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime import Agent, Task
from agent_runtime.signature import Kind, inspect_handler
from bus import Client
from bus.errors import CapabilityError, InvalidInput, TaskRejected
from bus.wire.headers import JSON, OCTETS
from coordinator import Coordinator

if TYPE_CHECKING:
    from agent_runtime.task import Task as Unseen


class Doc(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 0


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Box(TypedDict):
    corner: Point


class Pair(NamedTuple):
    left: int
    right: str


class Model(pydantic.BaseModel):
    count: int = pydantic.Field(gt=0)
    children: list["Model"] = []


@dataclasses.dataclass
class Holder:
    model: Model


class Mixed(msgspec.Struct):
    model: Model


class Opaque:
    pass


class Exploding(msgspec.Struct):
    how: str

    def __post_init__(self) -> None:
        raise {"key": KeyError, "value": ValueError, "memory": MemoryError}[self.how]("boom")


class ExplodingModel(pydantic.BaseModel):
    how: str

    @pydantic.field_validator("how")
    @classmethod
    def explode(cls, how: str) -> str:
        raise KeyError("boom")


def no_parameters() -> None: ...
def text_and_count(text: str, count: int = 5) -> None: ...
def two(left: int, right: int) -> None: ...
def optional_only(limit: int | None = None) -> None: ...
def bare(first, second=1): ...  # type: ignore[no-untyped-def]  # unannotated is the point
def document(doc: Doc, more: list[Doc] = []) -> None: ...  # noqa: B006  # authors do write this
def octet(data: bytes, note: str = "") -> None: ...
def maybe_octet(data: bytes | None = None) -> None: ...
def short_octet(data: Annotated[bytes, msgspec.Meta(max_length=3)]) -> None: ...
def counts(table: dict[str, int]) -> None: ...
def pair(pair: Pair) -> None: ...
def model(model: Model, note: str = "") -> None: ...
def models(models: list[Model]) -> None: ...
def maybe_model(model: Model | None = None) -> None: ...
def constrained(number: Annotated[int, pydantic.Field(gt=3)]) -> None: ...
def holder(holder: Holder) -> None: ...
def exploding(it: Exploding) -> None: ...
def exploding_model(it: ExplodingModel) -> None: ...


class TestShape:
    async def _coroutine(self) -> int:
        return 1

    async def _stream(self) -> AsyncIterator[Doc]:
        yield Doc("a")

    def _generator(self) -> Generator[int, None, str]:
        yield 1
        return ""

    @pytest.mark.parametrize(
        ("method", "kind"),
        [
            ("_coroutine", Kind.ASYNC),
            ("_stream", Kind.STREAM),
            ("_generator", Kind.SYNC_STREAM),
            ("test_a_callable_object", Kind.SYNC),
        ],
    )
    def test_kind(self, method: str, kind: Kind) -> None:
        assert inspect_handler(getattr(self, method)).kind is kind

    def test_an_items_type_is_progress_and_result(self) -> None:
        interface = inspect_handler(self._stream)
        assert interface.output_schema["title"] == "Doc"
        assert interface.progress_schema == interface.output_schema
        assert inspect_handler(self._generator).progress_schema == {"type": "integer"}
        assert inspect_handler(self._coroutine).progress_schema is None

    def test_a_callable_object(self) -> None:
        class Adder:
            async def __call__(self, task: Task, number: int) -> int:
                return number

        interface = inspect_handler(Adder())
        assert (interface.kind, interface.wants_task) == (Kind.ASYNC, True)
        assert list(interface.input_schema["properties"]) == ["number"]

    def test_a_decorated_function_is_what_it_wraps(self) -> None:
        def logged(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return wrapper

        @logged
        async def work(task: Task, number: int) -> int:
            return number

        interface = inspect_handler(work)
        assert (interface.kind, interface.wants_task) == (Kind.ASYNC, True)
        assert interface.bind(b"3", JSON) == {"number": 3}

    def test_a_partial_keeps_its_hints(self) -> None:
        interface = inspect_handler(functools.partial(text_and_count, count=7))
        assert interface.bind(b'"a"', JSON) == {"text": "a"}
        assert interface.bind(b'{"text": "a"}', JSON) == {"text": "a", "count": 7}
        with pytest.raises(InvalidInput, match=r"^count: Expected `int`"):
            interface.bind(b'{"text": "a", "count": "b"}', JSON)


class TestTask:
    def test_by_class_name_and_when_only_type_checkers_see_it(self) -> None:
        def annotated(context: Task, text: str) -> None: ...
        def unannotated(task, text: str) -> None: ...  # type: ignore[no-untyped-def]  # the point
        def anything(task: Any, text: str) -> None: ...
        def unseen(task: "Unseen", text: str) -> None: ...

        for handler in (annotated, unannotated, anything, unseen):
            interface = inspect_handler(handler)
            assert interface.wants_task
            assert list(interface.input_schema["properties"]) == ["text"]

    def test_an_input_may_be_called_task(self) -> None:
        def named(task: str) -> None: ...
        def later(text: str, task: int) -> None: ...

        assert inspect_handler(named).bind(b'{"task": "x"}', JSON) == {"task": "x"}
        assert not inspect_handler(later).wants_task

    def test_not_first_is_refused(self) -> None:
        def second(text: str, job: Task) -> None: ...
        def by_name(*, task: Task) -> None: ...

        with pytest.raises(CapabilityError, match="second: parameter job is the Task: make it"):
            inspect_handler(second)
        with pytest.raises(CapabilityError, match="task is the Task, which is passed by position"):
            inspect_handler(by_name)


class TestRefused:
    def test_what_has_no_schema(self) -> None:
        def star(*rest: int) -> None: ...
        def double(**rest: int) -> None: ...
        def slash(text: str, /) -> None: ...
        def opaque(thing: Opaque) -> None: ...
        def nested(thing: list[Opaque]) -> None: ...
        def union(thing: Doc | Point) -> None: ...
        def mixed(thing: Mixed) -> None: ...
        def either(thing: Model | Doc) -> None: ...
        def unknown(thing: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821  # so
        def absent(thing: "msgspec.Nowhere") -> None: ...  # type: ignore[name-defined]  # so
        def iterator() -> Iterator[int]:
            return iter([1])

        def awaitable() -> Awaitable[int]:
            raise NotImplementedError

        async def wrong() -> int:  # type: ignore[misc]  # an async generator is no int
            yield 1

        table: list[tuple[Any, str]] = [
            (star, r"\*rest has no schema: name each"),
            (double, r"\*\*rest has no schema: name each"),
            (slash, "parameter text is positional-only.*remove the /"),
            (opaque, "parameter thing: Opaque cannot come from JSON.*use a msgspec Struct"),
            (nested, "parameter thing: list.*Opaque.* cannot come from JSON"),
            (union, "parameter thing: .*more than one dict-like type"),
            (mixed, "parameter thing: Mixed mixes pydantic and msgspec.*all of it"),
            (either, "parameter thing: .* mixes pydantic and msgspec"),
            (unknown, "hint of parameter thing cannot be resolved .*Nowhere.*module level"),
            (absent, "hint of parameter thing cannot be resolved .*Nowhere"),
            (iterator, "return type is .*Iterator.*return a list, or yield"),
            (awaitable, "return type is .*Awaitable"),
            (wrong, "return type of a generator is int: annotate it as AsyncIterator"),
            (max, "max: it has no signature: wrap it"),
            (Doc, "Doc: offer a function, not "),
        ]
        for handler, message in table:
            with pytest.raises(CapabilityError, match=message) as caught:
                inspect_handler(handler)
            assert handler.__name__ in str(caught.value)

    def test_not_a_function(self) -> None:
        handler: Any = 3
        with pytest.raises(CapabilityError, match="3: offer a function, not int"):
            inspect_handler(handler)


class TestHints:
    def test_types_of_the_enclosing_function(self) -> None:
        class Local(msgspec.Struct):
            name: str

        def handler(doc: "Local") -> "Local":
            raise NotImplementedError

        interface = inspect_handler(handler)
        assert interface.bind(b'{"doc": {"name": "a"}}', JSON) == {"doc": Local("a")}
        assert interface.output_schema["title"] == "Local"

    def test_a_local_type_hides_a_global_one(self) -> None:
        class Doc(msgspec.Struct):
            other: int

        def handler(doc: "Doc") -> None: ...

        assert inspect_handler(handler).bind(b'{"doc": {"other": 1}}', JSON) == {"doc": Doc(1)}


class TestSchema:
    def test_input(self) -> None:
        assert inspect_handler(text_and_count).input_schema == {
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "count": {"type": "integer", "default": 5},
            },
            "required": ["text"],
            "additionalProperties": False,
        }
        assert inspect_handler(no_parameters).input_schema["properties"] == {}

    def test_defaults_that_json_can_say(self) -> None:
        def handler(
            a: Colour = Colour.RED,
            b: set[int] = {1},  # noqa: B006  # authors do write this
            c: Model = Model(count=1),  # noqa: B008  # and this
            d: None = None,
        ) -> None: ...

        properties = inspect_handler(handler).input_schema["properties"]
        assert properties["a"]["default"] == "red"
        assert properties["b"]["default"] == [1]
        assert "default" not in properties["c"]
        assert properties["d"] == {"type": "null", "default": None}

    @pytest.mark.parametrize(
        ("hint", "schema"),
        [
            (None, {"type": "null"}),
            (Any, {}),
            (object, {}),
            (Opaque, {}),
            (bytes, {"type": "string", "contentMediaType": OCTETS}),
            (
                bytes | None,
                {"anyOf": [{"type": "string", "contentMediaType": OCTETS}, {"type": "null"}]},
            ),
            (list[int], {"type": "array", "items": {"type": "integer"}}),
            (Literal["a"], {"enum": ["a"]}),
            (uuid.UUID, {"type": "string", "format": "uuid"}),
        ],
    )
    def test_output(self, hint: Any, schema: dict[str, Any]) -> None:
        assert inspect_handler(returning(hint)).output_schema == schema

    def test_of_a_model_that_refers_to_itself(self) -> None:
        schema = inspect_handler(returning(Model)).output_schema
        assert schema["$ref"] == "#/$defs/Model"
        assert schema["$defs"]["Model"]["properties"]["children"]["items"] == {
            "$ref": "#/$defs/Model"
        }

    def test_two_definitions_of_one_name(self) -> None:
        def other() -> Any:
            class Doc(pydantic.BaseModel):
                pages: int

            class Shelf(pydantic.BaseModel):
                docs: list[Doc]

            return Shelf

        def handler(doc: Doc, shelf: Any) -> None: ...

        handler.__annotations__["shelf"] = other()
        schema = inspect_handler(handler).input_schema
        assert list(schema["$defs"]["Doc"]["properties"]) == ["name", "size"]
        items = schema["properties"]["shelf"]["properties"]["docs"]["items"]
        assert items == {"$ref": "#/$defs/shelf.Doc"}
        assert list(schema["$defs"]["shelf.Doc"]["properties"]) == ["pages"]


class TestBind:
    @pytest.mark.parametrize(
        ("handler", "payload", "content_type", "expected"),
        [
            (no_parameters, b"", JSON, {}),
            (no_parameters, b"{}", JSON, {}),
            (text_and_count, b'{"text": "a"}', JSON, {"text": "a", "count": 5}),
            (text_and_count, b' \n{"count": 1, "text": "a"}', JSON, {"text": "a", "count": 1}),
            (text_and_count, b'{"text": "a"}', "", {"text": "a", "count": 5}),
            (text_and_count, b'"a"', "Application/JSON; charset=utf-8", {"text": "a"}),
            (text_and_count, b'"a"', "application/merge-patch+json", {"text": "a"}),
            (optional_only, b"", JSON, {"limit": None}),
            (optional_only, b"7", JSON, {"limit": 7}),
            (optional_only, b"null", JSON, {"limit": None}),
            (bare, b"[1, null]", JSON, {"first": [1, None]}),
            (document, b'{"doc": {"name": "a"}}', JSON, {"doc": Doc("a"), "more": []}),
            (octet, b"\0\xff", OCTETS, {"data": b"\0\xff"}),
            (octet, b"", OCTETS, {"data": b""}),
            (octet, b"\0\xff", "image/png", {"data": b"\0\xff"}),
            (octet, b'"AP8="', JSON, {"data": b"\0\xff"}),
            (maybe_octet, b"x", OCTETS, {"data": b"x"}),
            (short_octet, b"xxx", OCTETS, {"data": b"xxx"}),
            (pair, b'[1, "a"]', JSON, {"pair": Pair(1, "a")}),
            (model, b'{"model": {"count": 1}}', JSON, {"model": Model(count=1), "note": ""}),
            (models, b'[{"count": 1}]', JSON, {"models": [Model(count=1)]}),
            (maybe_model, b"", JSON, {"model": None}),
            (maybe_model, b'{"model": null}', JSON, {"model": None}),
            (constrained, b"4", JSON, {"number": 4}),
            (
                holder,
                b'{"holder": {"model": {"count": 1}}}',
                JSON,
                {"holder": Holder(Model(count=1))},
            ),
        ],
    )
    def test_fits(
        self,
        handler: Callable[..., Any],
        payload: bytes,
        content_type: str,
        expected: dict[str, Any],
    ) -> None:
        assert inspect_handler(handler).bind(payload, content_type) == expected

    @pytest.mark.parametrize(
        ("handler", "payload", "content_type", "field", "problem"),
        [
            (no_parameters, b"null", JSON, "", "must be a JSON object of parameters (none)"),
            (no_parameters, b'{"a": 1}', JSON, "a", "no such parameter; known are none"),
            (text_and_count, b"", JSON, "text", "is required and missing"),
            (text_and_count, b'{"txt": 1}', JSON, "txt", "known are text, count"),
            (text_and_count, b'{"text": 1}', JSON, "text", "Expected `str`, got `int`"),
            (text_and_count, b"1", JSON, "text", "Expected `str`, got `int`"),
            (text_and_count, b"hello", JSON, "", "must be JSON"),
            (text_and_count, b'{"text": "\xff"}', JSON, "", "must be JSON"),
            (text_and_count, b'{"text": "a"', JSON, "", "must be JSON"),
            (text_and_count, b"x", OCTETS, "text", "exactly one parameter of type bytes"),
            (text_and_count, b'"a"', "text/plain", "text", "exactly one parameter of type bytes"),
            (two, b"1", JSON, "", "a JSON object of parameters (left, right)"),
            (document, b'{"doc": {"name": 1}}', JSON, "doc.name", "Expected `str`"),
            (document, b'{"doc": {}}', JSON, "doc.name", "is required and missing"),
            (document, b'{"doc": {"a": 1}}', JSON, "doc.a", "is unknown here"),
            (document, b'{"name": "a"}', JSON, "name", "known are doc, more"),
            (document, b"[]", JSON, "doc", "Expected `object`, got `array`"),
            (
                document,
                b'{"doc": {"name": "a"}, "more": [{"name": "b"}, {"name": 3}]}',
                JSON,
                "more[1].name",
                "Expected `str`",
            ),
            (short_octet, b"xxxx", OCTETS, "data", "length <= 3"),
            (counts, b'{"table": {"a": "b"}}', JSON, "table[...]", "Expected `int`"),
            (pair, b'[1, "a", 2]', JSON, "pair", "length"),
            (model, b'{"model": {"count": 0}}', JSON, "model.count", "greater than 0"),
            (model, b'{"count": 1}', JSON, "count", "known are model, note"),
            (models, b'[{"count": 1}, {"count": 0}]', JSON, "models[1].count", "greater than 0"),
            (
                model,
                b'{"model": {"count": 1, "children": [{}]}}',
                JSON,
                "model.children[0].count",
                "required",
            ),
            (model, b'{"model": {"count": 0, "children": 1}}', JSON, "model.count", "(and 1 more)"),
            (model, b'{"model": "\xff"}', JSON, "model", "Invalid JSON"),
            (constrained, b"3", JSON, "number", "greater than 3"),
            (exploding, b'{"it": {"how": "value"}}', JSON, "it", "boom"),
            (exploding, b'{"it": {"how": "key"}}', JSON, "", "refused with KeyError: 'boom'"),
            (exploding_model, b'{"it": {"how": ""}}', JSON, "it", "refused with KeyError: 'boom'"),
            (bare, b"[" * 100_000, JSON, "", "nested too deeply"),
        ],
    )
    def test_does_not_fit(
        self,
        handler: Callable[..., Any],
        payload: bytes,
        content_type: str,
        field: str,
        problem: str,
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            inspect_handler(handler).bind(payload, content_type)
        assert caught.value.field == field
        assert problem in caught.value.problem

    def test_an_error_does_not_echo_a_huge_name(self) -> None:
        payload = msgspec.json.encode({"k" * 1_000_000: 1})
        with pytest.raises(InvalidInput) as caught:
            inspect_handler(text_and_count).bind(payload, JSON)
        assert len(str(caught.value)) < 500

    def test_a_default_is_the_handlers_own_object(self) -> None:
        default = [1]

        def handler(numbers: list[int] = default, other: int = 0) -> None: ...

        assert inspect_handler(handler).bind(b"{}", JSON)["numbers"] is default


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "doc", "model", "name", "data", "how"]) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
JSON_TEXT = VALUES.filter(lambda value: is_encodable(value)).map(msgspec.json.encode)
INTERFACES = [
    inspect_handler(handler)
    for handler in (
        *(no_parameters, text_and_count, two, optional_only, bare, document, octet, maybe_octet),
        *(short_octet, counts, pair, model, models, maybe_model, constrained, holder),
        *(exploding_model,),
    )
]


def is_encodable(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return False
    return True


@given(payload=JSON_TEXT | st.binary(max_size=40), content_type=st.sampled_from([JSON, OCTETS]))
def test_any_payload_binds_or_is_refused(payload: bytes, content_type: str) -> None:
    for interface in INTERFACES:
        names = {parameter.name for parameter in interface.parameters}
        outcome: dict[str, Any] | InvalidInput
        try:
            outcome = interface.bind(payload, content_type)
        except InvalidInput as error:
            outcome = error
        if isinstance(outcome, InvalidInput):
            assert outcome.problem
            assert len(str(outcome)) < 500
        else:
            assert outcome.keys() <= names


NAIVE = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (None, st.none()),
    (str, st.text(st.characters(exclude_categories=["Cs"]))),
    (Optional[int], st.none() | st.integers()),  # noqa: UP045  # the older spelling counts too
    (dt.datetime, NAIVE),
    (dt.date, st.dates()),
    (uuid.UUID, st.uuids()),
    (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Colour, st.sampled_from(Colour)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (list[bytes], st.lists(st.binary(max_size=9), max_size=3)),
    (tuple[int, str], st.tuples(st.integers(), st.just("x"))),
    (set[int], st.sets(st.integers(), max_size=3)),
    (dict[int, bool], st.dictionaries(st.integers(), st.booleans(), max_size=3)),
    (Doc, st.builds(Doc, st.just("a"), st.integers())),
    (Point, st.builds(Point, st.integers(), st.integers())),
    (Box, st.fixed_dictionaries({"corner": st.builds(Point, st.integers())})),
    (Pair, st.builds(Pair, st.integers(), st.just("b"))),
    (Model, st.builds(Model, count=st.integers(1, 9), children=st.just([Model(count=1)]))),
    (list[Model], st.lists(st.builds(Model, count=st.integers(1, 9)), max_size=2)),
]


@pytest.mark.parametrize(("hint", "values"), TYPED, ids=lambda part: str(part)[:24])
def test_what_is_returned_can_be_an_input(hint: Any, values: st.SearchStrategy[Any]) -> None:
    def taking(value: Any, other: int = 0) -> None: ...

    taking.__annotations__["value"] = hint
    gives, takes = inspect_handler(returning(hint)), inspect_handler(taking)

    @given(value=values)
    def round_trip(value: Any) -> None:
        body, content_type = gives.encode(value)
        assert content_type == JSON
        wrapped = b'{"value":' + body + b"}"
        assert takes.bind(wrapped, JSON) == {"value": value, "other": 0}

    round_trip()


@given(data=st.binary(max_size=99))
def test_bytes_come_back_as_octets_or_base64(data: bytes) -> None:
    body, content_type = inspect_handler(returning(bytes)).encode(data)
    assert (body, content_type) == (data, OCTETS)
    takes = inspect_handler(octet)
    assert takes.bind(body, content_type)["data"] == data
    assert takes.bind(msgspec.json.encode(base64.b64encode(data).decode()), JSON)["data"] == data


class TestEncode:
    @pytest.mark.parametrize(
        ("hint", "value", "expected"),
        [
            (Any, {"a": {1}}, (b'{"a":[1]}', JSON)),
            (Any, memoryview(b"ab"), (b"ab", OCTETS)),
            (Any, [Model(count=1)], (b'[{"count":1,"children":[]}]', JSON)),
            (bytes | None, None, (b"null", JSON)),
            (float, 1, (b"1", JSON)),
            (list[Doc], [Doc("a")], (b'[{"name":"a","size":0}]', JSON)),
            (AsyncIterator[int], 3, (b"3", JSON)),
            (AsyncIterator[int], None, (b"null", JSON)),
        ],
    )
    def test_fits(self, hint: Any, value: Any, expected: tuple[bytes, str]) -> None:
        assert inspect_handler(returning(hint)).encode(value) == expected

    @pytest.mark.parametrize(
        ("hint", "value", "message"),
        [
            (Any, Opaque(), "handler: the returned Opaque does not fit Any: no JSON form"),
            (Any, "\ud800", "surrogates not allowed"),
            (Any, {(1, 2): 3}, "does not fit Any"),
            (int, "a", "the returned str does not fit int: Expected `int`, got `str`"),
            (int, True, "the returned bool does not fit int"),
            (Doc, {"size": 1}, "does not fit Doc: Object missing required field `name`"),
            (Doc, Doc(name=3), "Expected `str`, got `int` - at `\\$.name`"),  # type: ignore[arg-type]  # so
            (list[float], [float("nan")], "Expected `float`, got `null`"),
            (str, b"a", "bytes were not promised"),
            (Model, {"count": 1}, "does not fit Model: "),
            (Model, Model.model_construct(count="a"), "does not fit Model: "),
        ],
    )
    def test_does_not_fit(self, hint: Any, value: Any, message: str) -> None:
        with pytest.raises(CapabilityError, match=message):
            inspect_handler(returning(hint)).encode(value)

    def test_recursion(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(CapabilityError, match="recursion"):
            inspect_handler(returning(Any)).encode(endless)


def returning(hint: Any) -> Callable[..., Any]:
    """A handler whose return has this hint."""

    async def streaming() -> Any:
        yield 1

    def handler() -> Any: ...

    chosen: Any = streaming if str(hint).startswith("collections.abc.Async") else handler
    chosen.__annotations__["return"] = hint
    return chosen  # type: ignore[no-any-return]  # one of two functions


def test_pydantic_stays_out_until_a_handler_brings_it() -> None:
    program = """
import sys
from agent_runtime.signature import inspect_handler
def handler(text: str, count: int = 3) -> dict[str, int]: ...
inspect_handler(handler).bind(b'"a"', "application/json")
assert "pydantic" not in sys.modules, "imported"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["key", "memory"])
async def test_a_type_that_raises_costs_no_slot(
    coordinator: Coordinator, client: Client, join: Callable[..., Awaitable[Any]], how: str
) -> None:
    agent = Agent("narrow", slots=1)

    @agent.capability("explode")
    async def explode(it: Exploding) -> int:
        return 0

    @agent.capability("echo")
    async def echo(number: int) -> int:
        return number

    await join(agent)
    failed = await client.submit("explode", {"it": {"how": how}}, max_attempts=1)
    if how == "key":
        with pytest.raises(TaskRejected):
            await failed.result(timeout=5)
    else:
        with pytest.raises(Exception, match="MemoryError"):
            await failed.result(timeout=5)
    after = await client.submit("echo", 7)
    assert await after.result(timeout=5) == 7
