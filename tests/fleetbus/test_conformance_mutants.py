"""Checks can fail: each of these agents has one thing wrong, and a check that says so."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from bus.server import NatsServer
from bus.server_config import ServerConfig
from fleetbus.conformance.catalogue import CHECKS
from fleetbus.conformance.outcome import Outcome
from fleetbus.conformance.runner import Runner

CAUGHT: Final = {
    "acks_first": "ack.stored-first",
    "acks_unstored": "ack.refused",
    "announces_early": "join.subscribed",
    "answers_accepted": "dispatch.silent",
    "breaks_its_promise": "beat.kept",
    "deaf_to_policy": "beat.policy",
    "dies_of_garbage": "garbage.cancel",
    "ignores_selectors": "command.selector",
    "loses_the_dead": "outcome.dead",
    "never_renews": "lease.renewed",
    "no_jitter": "beat.jitter",
    "no_marker": "ack.marker",
    "no_word_of_progress": "ack.in-progress",
    "refuses_silently": "dispatch.full",
    "runs_twice": "dispatch.adopted",
    "stays_registered": "leave.stop",
    "takes_any_config": "config.rejected",
    "too_many_heartbeats": "beat.rate",
    "twin_starts": "join.twin",
}
"""By mutant: the check that must fail."""

TRIES: Final = 3

TIMEOUT: Final = 1.5
"""Seconds. Mutants never send what is waited for."""


async def test_each_mutant_is_caught_by_its_check() -> None:
    outcomes: dict[str, Outcome] = {}
    at_once = asyncio.Semaphore(5)

    async def judge(url: str, mutant: str, check: str) -> None:
        command = [sys.executable, "-m", "tests.conformance.agents.mutant_agent", mutant]
        checks = [one for one in CHECKS if one.id == check]
        async with at_once:
            # Some are told by time, which a busy machine may blur.
            for _ in range(TRIES):
                runner = Runner(url, command, TIMEOUT, lambda _: None)
                (outcomes[mutant],) = await runner.run(checks)
                if outcomes[mutant].outcome == "fail":
                    return

    config = ServerConfig(max_payload=256 * 1024)
    async with NatsServer(config=config) as server, asyncio.TaskGroup() as group:
        for mutant, check in CAUGHT.items():
            group.create_task(judge(server.url, mutant, check))
    missed = [mutant for mutant, one in outcomes.items() if one.outcome != "fail"]
    assert missed == []
    assert {mutant: one.check for mutant, one in outcomes.items()} == CAUGHT
    # By what the agent did, and not by a check that broke.
    strange = [one for one in outcomes.values() if "what the check can read" in one.expected]
    assert strange == []
