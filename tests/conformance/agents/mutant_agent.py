"""The agent of ``runtime_agent.py`` with one thing wrong.

Run as ``python -m tests.conformance.agents.mutant_agent NAME``.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from agent_runtime import delivery, intake, presence, runtime
from agent_runtime.load import Load
from bus.selectors import Selector
from tests.conformance.agents.runtime_agent import agent


def put(owner: Any, name: str, wrong: object) -> None:
    """Put ``wrong`` in the place of a name of ``owner``."""
    setattr(owner, name, wrong)


def patch(owner: Any, name: str, wrong: Callable[..., Any]) -> None:
    """Put ``wrong`` in the place of a method; it is given the right one first."""
    right = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: wrong(right, *args, **kwargs))


def acks_first() -> None:
    def publish(right: Any, self: Any, held: Any, result: Any) -> None:
        if held.ack:
            self.bus.send(held.ack, b"+ACK")
        right(self, held, result)

    patch(delivery.Delivery, "_publish", publish)


def acks_unstored() -> None:
    def publish(right: Any, self: Any, held: Any, result: Any) -> None:
        right(self, held, result)
        if held.ack:
            self.bus.send(held.ack, b"+ACK")

    patch(delivery.Delivery, "_publish", publish)


def answers_accepted() -> None:
    def on_dispatch(right: Any, self: Any, message: Any) -> None:
        right(self, message)
        if "Fleet-Ack" in message.headers:
            self._bus.send(message.reply, b"accepted")

    patch(intake.Intake, "on_dispatch", on_dispatch)


def never_renews() -> None:
    async def keep_lease(right: Any, self: Any) -> None:
        await asyncio.sleep(3600)

    patch(presence.Presence, "_keep_lease", keep_lease)


def no_word_of_progress() -> None:
    patch(intake.Intake, "extend", lambda right, self: None)


def runs_twice() -> None:
    def on_dispatch(right: Any, self: Any, message: Any) -> None:
        self.held.pop(message.headers.get("Fleet-Task", ""), None)
        right(self, message)

    patch(intake.Intake, "on_dispatch", on_dispatch)


def no_jitter() -> None:
    put(presence, "JITTER", 0.0)


def too_many_heartbeats() -> None:
    put(presence, "FEEDBACK", 0.0)

    def run_ended(right: Any, self: Any, *args: Any) -> bool:
        right(self, *args)
        return True

    patch(Load, "finish", run_ended)


def breaks_its_promise() -> None:
    def heartbeat(right: Any, self: Any, next_in: float) -> None:
        right(self, next_in / 4)

    patch(presence.Presence, "_heartbeat", heartbeat)


def no_marker() -> None:
    async def mark_attempt(right: Any, self: Any, held: Any, attempt: int) -> None:
        return

    patch(delivery.Delivery, "mark_attempt", mark_attempt)


def ignores_selectors() -> None:
    patch(Selector, "matches", lambda right, *args: True)


def deaf_to_policy() -> None:
    patch(presence.Presence, "_on_policy", lambda right, self, message: None)


def stays_registered() -> None:
    async def delete(right: Any, self: Any) -> None:
        return

    patch(presence.Presence, "_delete", delete)


def twin_starts() -> None:
    async def check_twin(right: Any, self: Any) -> None:
        return

    patch(presence.Presence, "check_twin", check_twin)


def announces_early() -> None:
    async def start(right: Any, self: Any) -> None:
        join = presence.Presence.join
        subscribe = runtime.Runtime._subscribe

        async def late(runtime_: Any, capability: str) -> None:
            return

        async def join_first(presence_: Any) -> None:
            await join(presence_)
            for name in self.offers:
                await subscribe(self, name)

        put(runtime.Runtime, "_subscribe", late)
        put(presence.Presence, "join", join_first)
        await right(self)

    patch(runtime.Runtime, "_start", start)


def dies_of_garbage() -> None:
    def on_cancel(right: Any, self: Any, message: Any) -> None:
        try:
            right(self, message)
        except Exception:
            os._exit(3)

    patch(intake.Intake, "on_cancel", on_cancel)


def takes_any_config() -> None:
    put(agent.declared.model, "make", dict)


def refuses_silently() -> None:
    def refuse(right: Any, self: Any, message: Any, reason: str) -> None:
        if reason != "full":
            right(self, message, reason)

    patch(intake.Intake, "_refuse", refuse)


def loses_the_dead() -> None:
    async def bury(right: Any, self: Any, held: Any, error: Any, run: float) -> None:
        self._conclude(held, "failed", run, error=error)

    patch(delivery.Delivery, "_bury", bury)


MUTANTS: Final = {
    one.__name__: one
    for one in (
        acks_first,
        acks_unstored,
        announces_early,
        answers_accepted,
        breaks_its_promise,
        deaf_to_policy,
        dies_of_garbage,
        ignores_selectors,
        loses_the_dead,
        never_renews,
        no_jitter,
        no_marker,
        no_word_of_progress,
        refuses_silently,
        runs_twice,
        stays_registered,
        takes_any_config,
        too_many_heartbeats,
        twin_starts,
    )
}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    agent.run()
