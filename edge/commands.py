"""Commands from operators: those that every agent answers, and its own."""

from edge import port
from edge.client import decode
from edge.errors import Garbage
from edge.names import BUILT_IN, dumps, shaped
from edge.params import Invalid, checked
from edge.selector import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.runtime import Runtime
    from edge.wire import Message

PATIENCE = 1.0
"""Seconds before a command that still runs is answered with ``accepted``."""
SKEW = 5000
"""Milliseconds by which clocks may differ before a command counts as expired."""
MOST = 8
"""Commands at a time."""


class Commands:
    """Answers the commands that are meant for one agent."""

    def __init__(self, runtime: "Runtime") -> None:
        self._rt = runtime
        self._running = 0
        self._count = 0

    def on_command(self, message: "Message") -> None:
        """A command arrived on one of the agent's subjects."""
        rt = self._rt
        kinds = {"args": (dict, {}), "selector": (str, ""), "issued_by": (str, "")}
        command = shaped(
            "command", decode(message.body), id=str, verb=str, expires_ms=(int, 0), **kinds
        )
        agent = rt.agent
        try:
            meant = matches(command["selector"], agent.id, agent.site, agent.labels, rt.offers)
        except ValueError as problem:
            self._reply(message, command, "rejected", error=str(problem))
            return
        if not meant:
            return
        if command["expires_ms"] and rt.now() > command["expires_ms"] + SKEW:
            raise Garbage(f"command {command['verb']} has expired")
        if command["verb"] not in agent.verbs and command["verb"] not in BUILT_IN:
            known = ", ".join(rt.verbs())
            text = f"unknown verb {command['verb'][:80]}; known are {known}"
            self._reply(message, command, "rejected", error=text)
        elif self._running >= MOST:
            self._reply(message, command, "failed", error=f"{MOST} commands run already")
        else:
            self._running += 1
            rt.chores.spawn(self._answer(message, command), "command " + command["verb"])

    async def _answer(self, message: "Message", command: "dict[str, Any]") -> None:
        rt = self._rt
        begun = port.ticks()
        self._count += 1
        name = f"command {self._count}"

        def accept() -> None:
            self._reply(message, command, "accepted")

        rt.chores.at(name, PATIENCE * 1000, accept)
        try:
            output = await self._do(command["verb"], command["args"], command["issued_by"])
            state, error = "ok", ""
            dumps(output)
        except Invalid as problem:
            state, output, error = "rejected", None, rt.clean(str(problem))
        except port.RAISED as problem:  # whatever a command raises is its answer
            state, output = "failed", None
            error = rt.clean(f"{type(problem).__name__}: {port.said(problem)}")
            port.log(port.WARNING, f"command {command['verb']} failed: {error}")
        finally:
            self._running -= 1
            rt.chores.cancel(name)
        self._reply(message, command, state, output, error, port.ticks() - begun)

    def _reply(
        self,
        message: "Message",
        command: "dict[str, Any]",
        state: str,
        output: "Any" = None,
        error: str = "",
        ms: float = 0,
    ) -> None:
        if not message.reply:
            return
        said = {"agent": self._rt.agent.id, "state": state, "command": command["id"]}
        if output is not None:
            said["output"] = output
        if error:
            said["error"] = error
        if ms:
            said["elapsed_ms"] = round(ms, 3)
        body = dumps(said).encode()
        if len(body) > self._rt.client.max_payload:
            self._reply(message, command, "failed", None, f"the answer has {len(body)} bytes", ms)
        else:
            self._rt.client.pub(message.reply, body)

    async def _do(self, verb: str, args: "dict[str, Any]", by: str) -> "Any":
        rt = self._rt
        own = rt.agent.verbs.get(verb)
        if own is not None:
            handler, params = own
            return await port.call(handler, (), checked(args, params), [])
        if verb == "set-log-level":
            args = checked(args, {"level": str, "logger": (str, "fleetbus")})
            if args["level"] not in port.LEVELS:
                raise Invalid("level", "known are " + ", ".join(sorted(port.LEVELS)))
            port.set_level(port.LEVELS[args["level"]], args["logger"])
            return f"{args['logger']} {args['level']}"
        if verb == "cancel":
            args = checked(args, {"task_id": str, "reason": (str, "canceled by an operator")})
            return rt.intake.cancel(args["task_id"], args["reason"])
        if verb == "config-override":
            args = checked(args, {"values": dict, "ttl": float})
            whole = await rt.config.started()
            return await whole.override(args["values"], args["ttl"], by)
        if verb == "config-clear":
            args = checked(args, {"keys": (list, [])})
            return await (await rt.config.started()).clear(args["keys"])
        checked(args, {})
        if verb == "config":
            return (await rt.config.started()).report()
        if verb == "status":
            return rt.status()
        if verb == "drain":
            rt.intake.drained = True
            rt.presence.poke()
            await rt.tell("draining")
            return "draining"
        if verb == "resume":
            rt.intake.drained = False
            rt.presence.poke()
            await rt.tell("resumed")
            return "waiting for a good configuration" if rt.intake.waiting else "ready"
        if verb == "stop":
            # Answer first: the connection goes down with us.
            rt.chores.at("stop", 50, rt.stopping.set)
            return "stopping"
        return "pong"
