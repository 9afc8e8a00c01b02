"""Checks: a task is acknowledged when its result is stored, and not before."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, Final

from msgspec.structs import replace

from bus import store
from bus.wire import headers as h
from bus.wire.result import Result
from bus.wire.result import encode as result_block
from fleetbus.conformance.check import Topic, equal, holds
from fleetbus.conformance.checks.scenes import ACK
from fleetbus.conformance.given import LAST_WORDS
from fleetbus.conformance.queueing import queued_behind
from fleetbus.conformance.stage import Stage

TOPIC = Topic("ack", ACK)
check = TOPIC.check

LONG: Final = 30.0
"""Seconds of an ack wait in which nothing is said while a check runs."""


@check(
    "stored-first",
    "The result is published with Nats-Expected-Last-Subject-Sequence: 0, and +ACK once after "
    "it was stored.",
    "Be an agent, 9",
)
async def stored_first(stage: Stage) -> None:
    given = await stage.coordinator.give("echo", {"value": 1})
    published = await given.published()
    equal(h.EXPECT_LAST_SUBJECT_SEQ, published.headers.get(h.EXPECT_LAST_SUBJECT_SEQ), "0")
    holds(published.reply, "a reply subject: it asks whether it was stored", "none")
    await given.finished("completed")
    await stage.beat()
    acks = given.said(b"+ACK")
    equal("times +ACK", len(acks), 1)
    holds(acks[0].number > published.number, "the result before +ACK", "+ACK first")


@check("headers", "A result says its state, agent and attempt, and how long it took.", "Result")
async def headers(stage: Stage) -> None:
    given = await stage.coordinator.give("echo", {"value": 1})
    result = await given.finished("completed")
    equal("Fleet-Agent", result.agent, stage.agent)
    equal("Fleet-Attempt", result.attempt, 1)
    holds(0 <= result.queued_ms < 60_000, "a small Fleet-Queued-Ms", result.queued_ms)
    holds(0 <= result.run_ms < 10_000, "a small Fleet-Run-Ms", result.run_ms)


@check(
    "second",
    "A result that the broker refuses because there is one already is the end of it: +ACK.",
    "Be an agent, 9",
)
async def second(stage: Stage) -> None:
    task_id = stage.coordinator.new_id()
    subject = stage.subjects.result(task_id)
    theirs = Result(task_id, "canceled")
    await store.publish(stage.bus, subject, b"", result_block(theirs, once=True))
    given = await stage.coordinator.give("echo", {"value": 1}, task_id=task_id)
    await given.word(b"+ACK")
    stored = await store.last(stage.bus, stage.subjects.results_stream, subject)
    state = None if stored is None else stored.headers.get(h.STATE)
    equal("the stored Fleet-State", state, "canceled")


async def _progress_words(stage: Stage, subject: str, since: int, span: float) -> None:
    """Hold what was said since then to the policy in force."""
    words = stage.record.all(subject, since, lambda one: one.data.startswith(b"+WPI"))
    ack_wait = stage.policy.ack_wait
    holds(words, f"+WPI while it is held for {span:g} s with an ack wait of {ack_wait:g} s", "none")
    times = [stage.record.seen[since].at, *(one.at for one in words)]
    gaps = [after - before for before, after in pairwise(times)]
    holds(max(gaps) < ack_wait, f"+WPI more often than every {ack_wait:g} s", gaps)


@check(
    "in-progress",
    "While a task runs, +WPI is sent more often than every ack_wait, and the broker does not "
    "give it out again.",
    "Be an agent, 7",
)
async def in_progress(stage: Stage) -> None:
    span = stage.policy.ack_wait * 2.5
    given = await stage.coordinator.give("sleep", {"seconds": span})
    await given.finished("completed", span + stage.timeout)
    await _progress_words(stage, given.ack, given.since, span)
    equal("times +ACK", len(given.said(b"+ACK")), 1)


@check(
    "in-progress-queued",
    "The same for a task that is queued in the agent.",
    "Be an agent, 7",
)
async def in_progress_queued(stage: Stage) -> None:
    span = stage.policy.ack_wait * 2
    _, waiting = await queued_behind(stage, span)
    await waiting.finished("completed", span * 2 + stage.timeout)
    await _progress_words(stage, waiting.ack, waiting.since, span)


@check(
    "shorter",
    "When the policy's ack_wait becomes shorter, it counts for the tasks that are held too.",
    "Be an agent, 7",
)
async def shorter(stage: Stage) -> None:
    before = stage.policy
    long = replace(before, interval=before.interval * 2, ack_wait=LONG)
    span = before.ack_wait * 2.5
    try:
        await stage.change_policy(long)
        await stage.beat("the longer interval", lambda b: b.interval == long.interval)
        given = await stage.coordinator.give("sleep", {"seconds": 60})
        await stage.taken()
    finally:
        await stage.change_policy(before)
    since = stage.record.mark()
    await asyncio.sleep(span)  # what is said in this time is what is checked
    await _progress_words(stage, given.ack, since, span)


@check(
    "marker",
    "Before an attempt after the first, an attempt marker is stored; before the first, none.",
    "Be an agent, 8",
)
async def marker(stage: Stage) -> None:
    given = await stage.coordinator.give("retry", {"times": 1})
    await given.word(b"-NAK")
    markers = stage.record.all(stage.subjects.attempt(given.id))
    holds(not markers, "no attempt marker before the first attempt", [str(m) for m in markers])
    again = await stage.coordinator.again(given, attempt=2)
    seen = await stage.record.first("an attempt marker", stage.subjects.attempt(given.id))
    equal("Fleet-Attempt", seen.headers.get(h.ATTEMPT), "2")
    equal("Fleet-Agent", seen.headers.get(h.AGENT), stage.agent)
    result = await again.finished("completed")
    equal("the result's Fleet-Attempt", result.attempt, 2)
    published = await again.published()
    holds(published.number > seen.number, "the marker before the result", "after it")


async def _without_results(stage: Stage, broken: dict[str, Any], long: bool) -> None:
    """A result cannot be stored for a while: neither acknowledged nor given up.

    Args:
        broken: what is wrong with the stream.
        long: until the result has been published again; else only for the first time.
    """
    stream, subjects = stage.subjects.results_stream, stage.subjects
    good = (await stage.bus.api(f"STREAM.INFO.{stream}"))["config"]
    given = await stage.coordinator.give("sleep", {"seconds": 0.3})
    await stage.bus.api(f"STREAM.UPDATE.{stream}", {**good, **broken})
    try:
        first = await given.published()
        if long:
            await stage.record.first(
                "the result, published again",
                subjects.result(given.id),
                first.number + 1,
                lambda one: h.AGENT in one.headers,
                stage.timeout + 5,
            )
        await stage.beat()
        early = [one for one in given.words() if one.data.startswith(LAST_WORDS)]
        holds(not early, "no last word while the result is not stored", [str(o) for o in early])
    finally:
        await stage.bus.api(f"STREAM.UPDATE.{stream}", good)
    await given.finished("completed", stage.timeout + 5)
    stored = stage.record.all(subjects.done(given.id))
    equal("results stored", len(stored), 1)


@check(
    "refused",
    "A result that the broker refuses for another reason is published again, and nothing is "
    "acknowledged until it is stored.",
    "Be an agent, 9",
)
async def refused(stage: Stage) -> None:
    await _without_results(stage, {"max_msg_size": 16}, long=True)


@check(
    "unheard",
    "A result that nobody answers is published again, and nothing is acknowledged until it is "
    "stored.",
    "Be an agent, 9",
)
async def unheard(stage: Stage) -> None:
    broken = {"subjects": [stage.subjects.attempts], "republish": None}
    await _without_results(stage, broken, long=False)
