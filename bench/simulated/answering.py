"""What a simulated agent answers to tasks and to commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bus import codec
from bus.wire import headers as h
from bus.wire import result as results
from bus.wire.command import Reply
from bus.wire.result import Result

if TYPE_CHECKING:
    from bench.simulated.agent import SimulatedAgent

SERVICE: Final = 0.0001
"""Seconds that a task is said to have taken: what an echo takes an ordinary agent."""


def on_dispatch(agent: SimulatedAgent, reply: str, fields: h.Headers, data: bytes) -> None:
    """A task, a call or a question whether it lives: what it is sent is what it answers."""
    carrier, link, load = agent.carrier, agent.carrier.link, agent.load
    if h.PROBE in fields:
        carrier.probes += 1
        link.send(reply, b"", "", h.encode([(h.INCARNATION, agent.card.incarnation)]))
        return
    if fields.get(h.CAPABILITY) != "echo" or load.room <= 0:
        reason = "full" if load.room <= 0 else "capability"
        link.send(reply, b"", "", h.encode([(h.BUSY, reason)]))
        return
    load.accept(fields.get(h.VIA, ""))
    load.queued -= 1
    load.running += 1
    worth_saying = load.finish("echo", SERVICE)
    carrier.tasks += 1
    task = fields[h.TASK]
    outcome = Result(
        task,
        "completed",
        content_type=fields.get(h.CONTENT_TYPE, h.JSON),
        agent=agent.card.agent,
        attempt=int(fields.get(h.ATTEMPT, "1")),
        run_ms=SERVICE * 1000,
    )
    if h.REPLY in fields:
        link.send(fields[h.REPLY], data, "", results.encode(outcome))
    else:
        ack = fields[h.ACK]
        block = h.extend(results.encode(outcome), results.ONCE)
        # Acknowledged once the result is stored, or was before.
        link.ask(carrier.subjects.result(task), lambda _b, _d: link.send(ack, b"+ACK"), data, block)
    if worth_saying:
        agent.poke()


def on_command(agent: SimulatedAgent, reply: bytes, data: bytes) -> None:
    """``ping`` and ``config`` are answered, all others refused."""
    command, selector = agent.carrier.command(data)
    card = agent.card
    if not reply or not selector.matches(card.agent, card.site, card.labels, agent.versions):
        return
    if command.verb in ("ping", "config"):
        output = "pong" if command.verb == "ping" else agent.configured.report()
        answer = Reply(card.agent, "ok", command.id, output, elapsed_ms=0.01)
    else:
        text = f"unknown verb {command.verb!r}"
        answer = Reply(card.agent, "rejected", command.id, error=text)
    agent.carrier.link.send(reply.decode(), codec.encode(answer))
