"""What counts of what is on the bus, and what is in force, where conformance does not look."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from edge import Agent
from edge.errors import BusError
from edge.layers import Layers
from edge.runtime import Runtime
from edge.wire import Message, block

PREFIX = "$KV.CONFIG_dev."


def write(key: str, revision: int, value: Any, batched: bool = False) -> Message:
    head = [("Nats-Subject", PREFIX + key), ("Nats-Sequence", str(revision))]
    if batched:
        head.append(("Nats-Batch-Id", "b"))
    return Message("x", 1, "", block(head), json.dumps(value).encode())


def layer(**values: Any) -> dict[str, Any]:
    return {"values": values}


def state(*writes: Message) -> Layers:
    made = Layers(Runtime(Agent("a1"), {}))
    for one in writes:
        made.take(one, PREFIX)
    return made


def test_a_look_back_leaves_what_waits_for_its_head() -> None:
    """As when a fetch falls between the batches of a commit and its head."""
    found = state(
        write("head", 6, {"commit": "old"}, True), write("layer.global", 10, layer(v="new"), True)
    )
    for revision, value in ((5, "old"), (10, "new")):
        found.take(write("layer.global", revision, layer(v=value), True), PREFIX, True)
    assert (found.commit, found.layers["global"]) == ("old", {"v": "old"})
    found.take(write("head", 11, {"commit": "new"}, True), PREFIX)
    assert (found.commit, found.layers["global"]) == ("new", {"v": "new"})


def test_a_head_that_is_garbage_is_looked_behind() -> None:
    garbage: tuple[Any, ...] = (None, {"commit": 5}, {}, [])
    for bad in garbage:
        found = state(
            write("layer.global", 5, layer(v=1), True),
            write("head", 7, bad, True),
        )
        assert sorted(found.ignored)[0] == "head"
        found.take(write("head", 6, {"commit": "c"}, True), PREFIX, True)
        assert (found.commit, found.layers) == ("c", {"global": {"v": 1}})


def test_a_message_that_is_none_of_the_buckets_is_ignored() -> None:
    found = state(Message("x", 1, "", b"", None), Message("x", 1, "", b"", b"{}"))
    assert (found.ignored, found.layers) == ([], {})


def configured(agent: Agent, found: list[Message]) -> Runtime:
    runtime = Runtime(agent, {})

    async def fetch() -> list[Message]:
        return found

    runtime.config.fetch = fetch  # type: ignore[method-assign]  # there is no bus here
    return runtime


async def test_an_override_that_must_stay_is_not_tried_again_at_once() -> None:
    agent = Agent("a1")
    calls: list[Any] = []

    @agent.on_config("limit")
    def check(new: Any, old: Any) -> None:
        calls.append(new)
        if new is not None and new > 90:
            raise ValueError("this one melts")

    runtime = configured(agent, [write("layer.global", 1, layer(limit=80))])
    whole = runtime.config.whole()
    await whole.start()
    turning = asyncio.create_task(runtime.chores.run())
    await whole.override({"limit": 50}, 0.05, "ada")
    whole.on_message(write("layer.global", 2, layer(limit=95)))
    await asyncio.sleep(0.4)
    assert agent.config == {"limit": 50}
    assert whole.report()["state"] == "rejected"
    # Once at the start, once for the override, once for each of the two that were refused.
    assert len(calls) <= 5
    turning.cancel()
    runtime.chores.stop()


async def test_true_is_not_one() -> None:
    agent = Agent("a1")
    runtime = configured(agent, [write("layer.global", 1, layer(on=1))])
    whole = runtime.config.whole()
    await whole.start()
    hash_ = whole.report()["hash"]
    whole.on_message(write("layer.global", 2, layer(on=True)))
    await asyncio.sleep(0.05)
    assert agent.config["on"] is True
    assert whole.report()["hash"] != hash_
    runtime.chores.stop()


async def test_more_keys_than_the_server_answers_for_at_once() -> None:
    runtime = Runtime(Agent("a1"), {})
    asked: list[dict[str, Any]] = []
    pages = {1: 256, 257: 256, 513: 10}

    async def stored(stream: str, question: dict[str, Any], most: int) -> list[Message]:
        asked.append(question)
        if "multi_last" in question:
            raise BusError("too many", 413)
        if not question["next_by_subj"].endswith("group.*"):
            return []
        first = question["seq"]
        return [
            write(f"layer.group.10-g{number}", number, layer(v=number))
            for number in range(first, first + pages[first])
        ]

    runtime.client.stored = stored  # type: ignore[method-assign]  # a bucket of a thousand groups
    found = await runtime.config.fetch()
    assert len(found) == 522
    assert asked[1]["next_by_subj"].endswith(".head")
