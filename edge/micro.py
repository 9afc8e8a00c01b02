"""Answers the NATS micro protocol, so that ``nats micro ls`` and its like see the fleet."""

from edge.names import VERSION, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge.runtime import Runtime
    from edge.wire import Message

SERVICE = "fleetbus-agent"
"""All agents are instances of one service; the metadata says which is which."""


def listen(rt: "Runtime") -> None:
    """Answer ``$SRV.PING|INFO|STATS`` from now on."""

    def answer(message: "Message") -> None:
        verb = message.subject.split(".")[1].lower()
        said: dict[str, Any] = {
            "type": f"io.nats.micro.v1.{verb}_response",
            "name": SERVICE,
            "id": rt.incarnation,
            "version": VERSION,
            "metadata": {
                "agent": rt.id,
                "fleet": rt.settings["fleet"],
                "site": rt.agent.site,
                "incarnation": rt.incarnation,
            },
        }
        if verb == "info":
            said["description"] = f"agent {rt.id} of fleet {rt.settings['fleet']}"
        if verb != "ping":
            said["endpoints"] = []
        if message.reply:
            rt.client.pub(message.reply, dumps(said).encode())

    for verb in ("PING", "INFO", "STATS"):
        for where in ("", "." + SERVICE, f".{SERVICE}.{rt.incarnation}"):
            rt.client.sub(f"$SRV.{verb}{where}", answer)
