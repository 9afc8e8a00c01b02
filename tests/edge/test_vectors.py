"""What an edge agent says is, byte for byte but for blanks and order, what the vectors say."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus import codec
from bus.subjects import Subjects
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.card import Capability, Card
from bus.wire.command import Reply
from bus.wire.config import ConfigReport, Override, Rejection
from bus.wire.event import Event
from bus.wire.heartbeat import Heartbeat
from bus.wire.task import ErrorInfo
from bus.wire.telemetry import Telemetry
from edge import Agent, port, values, wire
from edge.client import Client
from edge.commands import Commands
from edge.names import ascii_json, dumps
from edge.outbox import Outbox
from edge.runtime import Runtime
from edge.sampling import Sampling
from edge.settings import load
from edge.task import Task
from edge.work import error_json
from tests.docs.tables import DOCS

VECTORS = Path(__file__).parents[1] / "wire_vectors"
EDGE = Path(__file__).parents[2] / "edge"
NOW = 1_795_235_812_473
ACK = "$JS.ACK.TASKS_dev.echo-p1.1.1.1.1795235811538118472.0"


def vector(struct: type[msgspec.Struct], case: str = "every field") -> dict[str, Any]:
    text = (VECTORS / f"{struct.__name__}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(json.loads(text)["cases"][case]["encoded"])
    return found


def said(struct: type[msgspec.Struct], body: bytes) -> dict[str, Any]:
    """``body`` without the fields that have their defaults; it has none that are unknown."""
    value = codec.decode(struct, body)
    found: dict[str, Any] = json.loads(body)
    known = {one.encode_name: one for one in msgspec.structs.fields(struct)}
    assert set(found) <= set(known)
    defaults = {
        name: one.default if one.default_factory is msgspec.NODEFAULT else one.default_factory()
        for name, one in known.items()
    }
    return {name: one for name, one in found.items() if getattr(value, name) != defaults[name]}


class Recorder(Client):
    """A connection that notes what is sent."""

    def __init__(self) -> None:
        super().__init__(load({}), "test")
        self.connected = True
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    def pub(self, subject: str, body: bytes = b"", head: Any = (), reply: str = "") -> bool:
        self.sent.append((subject, h.decode(wire.block(head)), body))
        return True

    async def store(self, subject: str, body: bytes = b"", head: Any = ()) -> dict[str, Any]:
        self.pub(subject, body, head)
        return {"stream": "X", "seq": len(self.sent)}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(port, "unix_ms", lambda: NOW)
    return Recorder()


def runtime(sent: Recorder, agent: Agent | None = None, **known: Any) -> Runtime:
    """An agent that is not connected; what it would say is in ``sent``."""
    made = Runtime(agent or Agent("a1", site="berlin"), {"fleet": "dev"})
    made.client = sent
    made.incarnation = "9f2c81d04b7e"
    for name, value in known.items():
        setattr(made, name, value)
    return made


def message(subject: str, block: bytes, body: bytes = b"") -> wire.Message:
    return wire.Message(subject, 1, "r.1", block, body)


# presence


async def test_heartbeat(sent: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = vector(Heartbeat)
    rt = runtime(sent, Agent("a1", site="berlin", slots=4, queue=8), version=wanted["version"])
    load_ = rt.load
    load_.running, load_.queued, load_.done, load_.failed = 3, 5, 1204, 2
    load_.accepted = wanted["accepted"]
    load_.service_ms, load_.failing = wanted["service_ms"], wanted["failing"]
    rt.intake.drained = True
    rt.presence._seq = 6
    rt.presence.policy["interval"] = 1.5
    standing = ("config", "commit", "overrides", "rejected", "versions")
    rt.presence.standing = {name: wanted[name] for name in standing}
    usage = ("cpu", "rss", "heap", "heap_free", "heap_peak")
    monkeypatch.setattr(port, "usage", lambda: {name: wanted[name] for name in usage})
    rt.outbox = Outbox(rt, None)
    monkeypatch.setattr(rt.outbox, "report", lambda: {"spooled": 12, "dropped": 3})
    rt.presence._heartbeat(0.75)
    subject, _, body = sent.sent.pop()
    assert subject == Subjects("dev").heartbeat("berlin", "a1")
    assert said(Heartbeat, body) == wanted


async def test_heartbeat_with_nothing_to_say(
    sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rt = runtime(sent, Agent("a1"), version="")
    monkeypatch.setattr(port, "usage", dict)
    monkeypatch.setattr(port, "unix_ms", lambda: 0)
    rt.presence.policy["interval"] = 0
    rt.presence._heartbeat(0.001)
    beat = json.loads(sent.sent.pop()[2])
    assert beat.pop("next_in") == 0.001
    assert beat == vector(Heartbeat, "required fields only")
    rt.presence._heartbeat(0)
    assert json.loads(sent.sent.pop()[2]) == {
        **vector(Heartbeat, "required fields only"),
        "seq": 2,
        "state": "stopped",
    }


async def test_card(sent: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = vector(Card)
    wanted.pop("relay", None)  # only a hub says it, of agents of others
    agent = Agent("a1", site="berlin", labels=wanted["labels"], slots=4)
    agent.capability("echo", version="1.0.0")(print)
    agent.capability("hash")(print)
    rt = runtime(sent, agent, version=wanted["runtime"], started_ms=wanted["started_ms"])
    rt.settings["idle"] = wanted["idle"]
    monkeypatch.setattr(port, "host", lambda: wanted["host"])
    monkeypatch.setattr(port, "pid", lambda: wanted["pid"])
    monkeypatch.setattr(rt, "verbs", lambda: wanted["commands"])
    await rt.presence._register()
    subject, head, body = sent.sent.pop()
    assert subject == Subjects("dev").registry_keys + "a1"
    assert head == {"Nats-TTL": "10s"}
    assert said(Card, body) == wanted


def test_capability() -> None:
    wanted = vector(Capability)
    agent = Agent("a1")
    agent.capability(
        "summarize",
        params={"text": str},
        version="1.2.0",
        description=wanted["description"],
        output={"type": "string"},
        tags=("text", "nlp"),
        cost=0.001,
    )(lambda task, text: text)
    card = agent.offers["summarize"].card
    assert card["input_schema"].pop("additionalProperties") is False
    assert said(Capability, dumps(card).encode()) == wanted
    agent.capability("echo")(print)
    assert agent.offers["echo"].card == vector(Capability, "required fields only")


# tasks


def held(rt: Runtime, attempt: int = 1, more: bytes = b"") -> Task:
    rt.agent.capability("echo")(print)
    block = (
        b"NATS/1.0\r\nFleet-Task: me.1\r\nFleet-Capability: echo\r\nFleet-Via: c\r\n"
        b"Fleet-Attempt: %d\r\nFleet-Ack: %s\r\n%s\r\n" % (attempt, ACK.encode(), more)
    )
    task = Task(message("fleet.dev.dispatch.a1", block, b'{"text":"hello"}'), "echo", rt, 0, 0)
    rt.intake.held[task.id] = task
    return task


async def test_progress(sent: Recorder) -> None:
    wanted = vector_of("Progress")
    rt = runtime(sent)
    task = held(rt, attempt=2)
    task.stage = 1
    task._sent = 2
    task.progress(wanted["value"], wanted["message"], wanted["fraction"])
    assert sent.sent.pop() == (Subjects("dev").progress("me.1"), {}, dumps(wanted).encode())
    task.attempt, task._sent = 1, 0
    task.progress()
    assert json.loads(sent.sent.pop()[2]) == vector_of("Progress", "required fields only")
    task.stage = 2
    task.progress()
    assert sent.sent == []  # it has ended


def vector_of(name: str, case: str = "every field") -> dict[str, Any]:
    text = (VECTORS / f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(json.loads(text)["cases"][case]["encoded"])
    return found


def test_dispatches_are_read(sent: Recorder) -> None:
    blocks = json.loads((VECTORS / "headers.json").read_text(encoding="utf-8"))["blocks"]
    rt = runtime(sent)
    one = Task(message("x", blocks["dispatch of a task"]["block"].encode()), "echo", rt, 0, 0)
    assert (one.id, one.attempt, one.max_attempts, one.via) == ("me.1", 1, 5, "c-5f1d20c9ab")
    assert (one.ack, one.stored_ms, one.redelivered) == (ACK, 1795235811538, False)
    assert (one.deadline, one.caller, one.headers) == (1795235871537, "me", {"X-Tenant": "acme"})
    assert one.traceparent == "00-57b10fd73270a55b1d59fec73f10cd1e-beb2079b2e161b6c-01"
    call = Task(message("x", blocks["dispatch of a call"]["block"].encode()), "echo", rt, 0, 0)
    assert (call.id, call.reply, call.ack) == ("call.08d1b902-1", "_INBOX.x.5", "")


async def test_result(sent: Recorder) -> None:
    rt = runtime(sent)
    task = held(rt, attempt=2)
    task.queued_ms = 2
    task.usage(tokens=3)
    outcome = ("failed", b"", "", ("nö", "ValueError", ""), None)
    await rt.work._conclude(task, outcome, 20.25, dead=False)
    blocks = json.loads((VECTORS / "headers.json").read_text(encoding="utf-8"))["blocks"]
    wanted = dict(blocks["result"]["fields"])
    subject, head, body = sent.sent[0]
    assert subject == Subjects("dev").result("me.1")
    assert head.pop("Fleet-Queued-Ms") == "2"
    del wanted["Fleet-Queued-Ms"], wanted["Content-Type"]  # not said of an empty JSON body
    assert json.loads(head.pop("Fleet-Error")) == json.loads(wanted.pop("Fleet-Error"))
    assert head == wanted
    assert sent.sent[1:] == [(ACK, {}, b"+ACK")]
    read = results.read(
        "me.1", wire.block([*head.items(), ("Fleet-Error", '{"message":"x"}')]), body
    )
    assert (read.state, read.agent, read.attempt, read.run_ms) == ("failed", "a1", 2, 20.25)
    assert read.usage == {"tokens": 3}


@pytest.mark.parametrize(
    ("output", "kind"), [(b'"hello"', h.JSON), (b"\x00\xff", h.OCTETS), (b"", h.JSON)]
)
async def test_completed_result_as_the_runtime_encodes_it(
    sent: Recorder, output: bytes, kind: str
) -> None:
    rt = runtime(sent)
    outcome = ("completed", output, kind, None, None)
    await rt.work._conclude(held(rt), outcome, 0.061, dead=False)
    _, head, body = sent.sent[0]
    expected = results.Result("me.1", "completed", output, kind, "a1", 1, run_ms=0.061)
    assert head == h.decode(results.encode(expected, once=True))
    assert results.read("me.1", wire.block(head.items()), body) == expected


async def test_dead(sent: Recorder) -> None:
    rt = runtime(sent)
    task = held(rt, attempt=3)
    await rt.work._bury(task, ("lost", "AgentLost", ""))
    subject, head, body = sent.sent.pop()
    assert subject == Subjects("dev").dead("echo", "me.1")
    assert body == b'{"text":"hello"}'
    assert json.loads(head.pop("Fleet-Error")) == {"message": "lost", "kind": "AgentLost"}
    assert head == {
        "Nats-Msg-Id": "dead-me.1",
        "Content-Type": "application/json",
        "Fleet-Attempt": "3",
        "Fleet-Agent": "a1",
    }


async def test_attempt_marker_and_back(sent: Recorder) -> None:
    rt = runtime(sent)
    await rt.work._mark(held(rt), 2)
    marker = (Subjects("dev").attempt("me.1"), {"Fleet-Attempt": "2", "Fleet-Agent": "a1"}, b"")
    assert sent.sent == [marker]


@pytest.mark.parametrize("case", ["every field", "required fields only"])
def test_error_info(case: str) -> None:
    wanted = vector(ErrorInfo, case)
    text = error_json((wanted["message"], wanted.get("kind", ""), wanted.get("field", "")))
    assert json.loads(text) == wanted
    assert text.isascii()


@pytest.mark.parametrize("message_", ["nö 😀 \r\n\t\x7f", "x" * 5000, "é" * 1001, '"\\', ""])
def test_error_info_in_a_header_as_the_runtime_says_it(message_: str) -> None:
    ours = error_json((message_, "K" * 300, "f" * 300))
    theirs = results.error_json(ErrorInfo(message_, "K" * 300, "f" * 300))
    assert json.loads(ours) == json.loads(theirs)
    assert ours.isascii()
    assert h.decode(wire.block([("E", ours)])) == {"E": ours}
    assert codec.decode(ErrorInfo, ours.encode()).message[:900] == message_[:900]


def test_ascii_json() -> None:
    for text in ("ä", "€", "😀", "\x7f", "a"):
        raw = json.dumps(text, ensure_ascii=False)
        assert ascii_json(raw).isascii()
        assert json.loads(ascii_json(raw)) == text


# commands, events, readings


@pytest.mark.parametrize(
    ("state", "output", "error", "ms", "case"),
    [
        ("failed", {"partial": [1, 2]}, "ValueError: no such level", 12.5, "every field"),
        ("ok", None, "", 0, "required fields only"),
    ],
)
async def test_reply(
    sent: Recorder, state: str, output: Any, error: str, ms: float, case: str
) -> None:
    wanted = vector(Reply, case)
    rt = runtime(sent)
    command = {"id": wanted.get("command", "")}
    Commands(rt)._reply(message("x", b""), command, state, output, error, ms)
    subject, _, body = sent.sent.pop()
    assert subject == "r.1"
    assert said(Reply, body) == wanted


async def test_event(sent: Recorder) -> None:
    await runtime(sent).tell("returned", {"why": "x"}, once=True)
    subject, head, body = sent.sent.pop()
    assert subject == Subjects("dev").event("returned", "a1")
    assert head == {"Nats-Msg-Id": "returned:a1:9f2c81d04b7e"}
    assert said(Event, body) == {
        "kind": "returned",
        "subject_id": "a1",
        "by": "a1",
        "at_ms": NOW,
        "data": {"site": "berlin", "why": "x"},
    }
    assert set(json.loads(body)) == set(vector(Event))


@pytest.mark.parametrize("case", ["every field", "required fields only"])
async def test_telemetry(sent: Recorder, case: str) -> None:
    wanted = vector(Telemetry, case)
    agent = Agent("cellar-1", site=wanted.get("site"))
    agent.telemetry(wanted["series"], unit=wanted.get("unit", ""), batch=10)(bool)
    rt = runtime(sent, agent)
    series = agent.series[0]
    for at, value in wanted["readings"]:
        series.take(value, wanted["at_ms"] + at)
    await Sampling(rt, Outbox(rt, None)).stop()
    subject, head, body = sent.sent.pop()
    assert subject == Subjects("dev").telemetry(agent.site, "cellar-1", wanted["series"])
    assert head == {"Nats-Msg-Id": "cellar-1-9f2c81d04b7e-1"}
    assert said(Telemetry, body) == wanted


# configuration


async def test_config_report(sent: Recorder) -> None:
    wanted = vector(ConfigReport)
    agent = Agent("a1")
    agent.capability("echo", version="1.0.0")(print)
    config = runtime(sent, agent).config.whole()
    over = wanted["overrides"][0]
    config._raw, config._hash, config._commit = {}, wanted["hash"], wanted["commit"]
    config._applied_ms, config._rejected = wanted["applied_ms"], wanted["rejected"]
    entry = (values.path(over["path"]), over["value"], over["by"], over["since_ms"])
    config._overrides = [(*entry, over["until_ms"], 0.0)]
    report = config.report()
    assert said(ConfigReport, dumps(report).encode()) == wanted
    assert said(Override, dumps(report["overrides"][0]).encode()) == vector(Override)
    assert said(Rejection, dumps(report["rejected"]).encode()) == vector(Rejection)


async def test_config_report_with_little_to_say(sent: Recorder) -> None:
    config = runtime(sent).config.whole()
    assert codec.decode(ConfigReport, dumps(config.report()).encode()) == ConfigReport(
        "", state="waiting"
    )
    config._raw, config._hash = {}, "6f2c67eda390bcaa"
    body = dumps(config.report()).encode()
    assert said(ConfigReport, body) == vector(ConfigReport, "required fields only")


# names


async def test_what_it_listens_to(sent: Recorder) -> None:
    agent = Agent("a1", site="berlin")
    agent.capability("echo")(print)
    rt = runtime(sent, agent)
    sent._subs.clear()
    rt._listen()
    known = Subjects("dev")
    layers = ("layer.global", "layer.fleet", "layer.group.*", "layer.instance.a1", "head", "policy")
    service = [
        f"$SRV.{verb}{where}"
        for verb in ("PING", "INFO", "STATS")
        for where in ("", ".fleetbus-agent", ".fleetbus-agent.9f2c81d04b7e")
    ]
    assert sorted(subject for subject, _ in sent._subs.values()) == sorted(
        [
            known.dispatch("a1"),
            known.advert("a1"),
            known.command_all,
            known.command_site("berlin"),
            known.command_agent("a1"),
            known.command_capability("echo"),
            known.cancels("echo"),
            *map(known.config, layers),
            *service,
        ]
    )


def texts() -> Iterator[tuple[str, str]]:
    """Every text in the code of edge but its docstrings, with holes as ``<>``."""
    for path in sorted(EDGE.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {
            id(one.value)
            for one in ast.walk(tree)
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
        }
        inside = {
            id(part)
            for one in ast.walk(tree)
            if isinstance(one, ast.JoinedStr)
            for part in ast.walk(one)
            if part is not one
        }
        for one in ast.walk(tree):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                if id(one) not in docs | inside:
                    yield path.name, one.value
            elif isinstance(one, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "<>" for p in one.values)
                yield path.name, "".join(str(part) for part in parts)


PAGE = (DOCS / "subjects.md").read_text(encoding="utf-8")


def test_every_header_is_on_the_page() -> None:
    shape = re.compile(r"(?:Fleet|Nats|KV)-[A-Za-z-]+|traceparent|Content-Type")
    found = {(file, text) for file, text in texts() if shape.fullmatch(text)}
    assert len(found) > 25
    table = PAGE.partition("## Headers")[2].partition("## Bodies")[0]
    # Of the object store, whose protocol is NATS's own.
    missing = {one for one in found if f"`{one[1]}`" not in table} - {
        ("payloads.py", "Nats-Rollup")
    }
    assert missing == set()


def test_every_stream_and_subject_is_on_the_page() -> None:
    streams = {
        name
        for _, text in texts()
        for name in re.findall(r"\b((?:KV_|OBJ_)?[A-Z]{4,})_(?:<>|$)", text)
        if name not in ("FLEETBUS", "INBOX")
    }
    assert streams >= {"KV_REGISTRY", "KV_CONFIG", "PAYLOADS", "TELEMETRY"}
    assert {one for one in streams if f"{one}_<f>" not in PAGE} == set()
    kinds = {
        text.lstrip("<>").partition(".")[0]
        for _, text in texts()
        if re.fullmatch(r"[a-z.*<>]+", text) and "." in text and not text.endswith(".py")
    }
    assert kinds >= {"hb", "dispatch", "result", "cmd", "progress", "telemetry", "event"}
    known = set(re.findall(r"fleet\.<f>\.([a-z]+)", PAGE))
    others = {"layer", "all", "site", "agent", "config", "io", "instance", "group"}
    others |= {"", "fleet", "fleetbus", "edge"}
    assert kinds - known - others == set()


def test_events_are_on_the_page() -> None:
    kinds = ["joined", "left", "returned", "draining", "resumed"]
    kinds += ["config.rejected", "config.accepted"]
    text = {text for _, text in texts()}
    assert text >= set(kinds)
    assert all(f"`{kind}`" in PAGE for kind in kinds)
