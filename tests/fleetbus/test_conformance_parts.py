"""The conformance suite's parts, and its documentation."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from bus.transport import Inbound
from fleetbus.conformance import contract
from fleetbus.conformance.catalogue import CHECKS, chosen
from fleetbus.conformance.check import Failed, equal, holds
from fleetbus.conformance.outcome import outcome, summed
from fleetbus.conformance.process import Process
from fleetbus.conformance.record import Record, covers
from fleetbus.conformance.sniff import Sniffed
from tests.docs.tables import code, sections

SUBJECTS = sections("subjects.md")
PAGE = sections("conformance.md")


def test_the_page_lists_the_checks() -> None:
    rows = PAGE["Checks"].rows()
    assert [(code(row[0]), *row[1:]) for row in rows] == [
        (one.id, one.level, one.rule, one.see) for one in CHECKS
    ]


def test_each_check_points_to_a_section_that_is_there() -> None:
    for one in CHECKS:
        page, there = PAGE, one.see.removeprefix("conformance.md, ")
        if there == one.see:
            page, there = SUBJECTS, one.see.partition(",")[0]
        assert there in page, one.id


def test_the_page_has_the_contract() -> None:
    rows = PAGE["The contract"].rows()
    named = {code(row[0]): row[1] for row in rows}
    wanted = dict.fromkeys(contract.REQUIRED, "required")
    wanted |= dict.fromkeys(contract.OPTIONAL, "optional")
    assert {name: level for name, level in named.items() if level in wanted.values()} == wanted
    assert set(contract.OWN) <= set(named)


def test_check_ids_are_unique() -> None:
    assert len({one.id for one in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(
    ("text", "some"),
    [("dispatch.full", ["dispatch.full"]), ("call.once join.twin", ["join.twin", "call.once"])],
)
def test_chosen_by_words(text: str, some: list[str]) -> None:
    assert [one.id for one in chosen(text)] == some
    assert chosen("") == list(CHECKS)
    assert chosen("no.such") == []


@pytest.mark.parametrize(
    ("pattern", "subject", "result"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.b", "a", False),
        ("a.*.*", "a.*.*", True),
        ("a.>", "a.*.*", True),
        ("a.b.*", "a.*.*", False),
        ("a.*", "a.>", False),
    ],
)
def test_covers(pattern: str, subject: str, result: bool) -> None:
    assert covers(pattern, subject) is result


def test_sniffed_at_any_split() -> None:
    said = (
        b'CONNECT {"name":"agent:a:1","headers":true}\r\nPING\r\nSUB x.y 1\r\nSUB x.> q 2\r\n'
        b"PUB a.b 11\r\nSUB no 7\r\nx\r\nHPUB c.d in.box 12 14\r\nNATS/1.0\r\n\r\nhi\r\nSUB z 3\r\n"
    )
    wanted = [("SUB", "x.y"), ("SUB", "x.>"), ("PUB", "a.b"), ("PUB", "c.d"), ("SUB", "z")]
    for split in range(len(said)):
        one = Sniffed()
        one.feed(said[:split])
        one.feed(said[split:])
        assert one.operations == wanted, split
        assert one.options["name"] == "agent:a:1"


def test_sniffed_leaves_what_is_no_nats_alone() -> None:
    one = Sniffed()
    one.feed(b"PUB a x\r\nSUB b 1\r\n")
    one.feed(b"SUB c 1\r\n")
    assert one.operations == [("PUB", "a")]


async def test_record_waits_for_what_comes() -> None:
    record = Record(0.05)

    def say(subject: str, data: bytes) -> None:
        record.add(Inbound(subject, "", data, b""))

    say("a.1", b"early")
    assert (await record.first("it", "a.*")).data == b"early"
    since = record.mark()
    waiting = asyncio.create_task(record.first("it", "a.*", since, lambda one: one.data == b"2"))
    await asyncio.sleep(0)
    say("a.1", b"1")
    say("a.2", b"2")
    assert (await waiting).number == 2
    assert [one.data for one in record.all("a.1")] == [b"early", b"1"]
    assert [one.data for one in record.all("a.1", since)] == [b"1"]
    with pytest.raises(Failed, match=r"expected it; got nothing such in 0\.05 s.*a\.2") as failed:
        await record.first("it", "a.*", since, lambda one: one.data == b"3")
    assert failed.value.expected == "it"


def test_expectations() -> None:
    equal("it", 1, 1)
    for actual, expected in ((1, 2), (1, True), (None, False)):
        with pytest.raises(Failed):
            equal("it", actual, expected)
    holds(True, "it", 1)
    with pytest.raises(Failed, match="expected more; got 0"):
        holds(0, "more", 0)
    assert len(Failed("it", "x" * 5000).got) < 500


def test_only_required_failures_count() -> None:
    required = next(one for one in CHECKS if one.level == "required")
    optional = next(one for one in CHECKS if one.level == "optional")
    good = summed([outcome(required, "pass", 0.1), outcome(optional, "fail", 0.1, "a", "b")], 1.0)
    assert (good.ok, good.passed, good.failed, good.failed_optional) == (True, 1, 0, 1)
    bad = summed([outcome(required, "fail", 0.1, "a", "b"), outcome(optional, "skip", 0.1)], 1.0)
    assert (bad.ok, bad.passed, bad.failed, bad.skipped) == (False, 0, 1, 1)


async def test_process_keeps_its_last_words(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "import os, sys; print(os.environ['FLEETBUS_AGENT']); sys.exit('the end')"
    process = Process([sys.executable, "-c", script], {"FLEETBUS_AGENT": "a1"}, lines.append)
    await process.start()
    assert await process.ended("its end", 10) == 1
    assert process.output == "a1\nthe end"
    assert lines == ["a1", "the end"]
    with pytest.raises(Failed, match="it was never started"):
        await Process([sys.executable], {}).ended("its end", 1)
