"""Writes docs/asyncapi.yaml from docs/subjects.md and the wire structs.

After a change of either: ``python -m tests.docs.asyncapi``. A test fails until then.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from typing import Any

import msgspec
import yaml

import bus.wire
from bus.version import VERSION
from tests.docs.tables import DOCS, code, codes, sections

FILE = DOCS / "asyncapi.yaml"

HEAD = (
    "# AsyncAPI 3.0 of the bus. Made by `python -m tests.docs.asyncapi` from subjects.md and\n"
    "# the wire structs: change those.\n"
)

_PARAMETER = re.compile(r"<([a-z-]+)>")

PARAMETERS = {
    "fleet": "the fleet's name",
    "site": "where an agent runs",
    "agent": "an agent's id",
    "capability": "a capability's name",
    "client": "first half of a task id",
    "seq": "second half of a task id",
    "priority": "p0 is first, p2 last",
    "coordinator": "a coordinator's id",
    "key": "key of the configuration bucket",
    "kind": "what happened",
    "subject-id": "what it happened to",
    "actor": "who did it",
    "verb": "what was done",
    "series": "what is measured",
    "thing": "a device's id",
}


def structs() -> list[type[msgspec.Struct]]:
    """Every struct that is defined in ``bus.wire``."""
    found = []
    for module in pkgutil.iter_modules(bus.wire.__path__):
        name = f"bus.wire.{module.name}"
        for one in vars(importlib.import_module(name)).values():
            if inspect.isclass(one) and issubclass(one, msgspec.Struct) and one.__module__ == name:
                found.append(one)
    return sorted(found, key=lambda one: one.__name__)


def address(subject: str) -> str:
    """``fleet.<f>.hb.<site>.<agent>`` as AsyncAPI writes it."""
    return _PARAMETER.sub(r"{\1}", subject.replace("<f>", "<fleet>"))


def channel_name(subject: str) -> str:
    """``hb``, ``cmd-all``: what of a subject is not a parameter."""
    words = [one for one in subject.split(".")[1:] if not one.startswith("<")]
    return "-".join(words)


def build() -> dict[str, Any]:
    """The whole document."""
    doc = sections("subjects.md")
    schemas = _schemas()
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for row in doc["Subjects"].rows():
        subject = code(row[0])
        name = channel_name(subject)
        bodies = [one for one in codes(row[3]) if one in schemas and one != "Reply"]
        channels[name] = {
            "address": address(subject),
            "description": f"{_plain(row[1])}; {_plain(row[2])}",
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        }
        parameters = _PARAMETER.findall(subject.replace("<f>", "<fleet>"))
        if parameters:
            channels[name]["parameters"] = {one: _parameter(one) for one in parameters}
        message: dict[str, Any] = {"summary": _plain(row[3])}
        if bodies:
            message["contentType"] = "application/json"
            message["payload"] = {"$ref": f"#/components/schemas/{bodies[0]}"}
        if name in CARRIERS:
            headers = f"Headers-{CARRIERS[name]}"
            message["headers"] = {"$ref": f"#/components/schemas/{headers}"}
        messages[name] = message
    schemas.update(_header_schemas(doc["Headers"].rows()))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The fleet bus",
            "version": VERSION,
            "description": "How agents, coordinators and clients talk; subjects.md explains it.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": channels,
        "operations": _operations(doc["Subjects"].rows()),
        "components": {"messages": messages, "schemas": schemas},
    }


def _plain(text: str) -> str:
    return text.replace("`", "")


def _parameter(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": PARAMETERS[name]}
    if name == "priority":
        found["enum"] = ["p0", "p1", "p2"]
    return found


def _schemas() -> dict[str, Any]:
    every = structs()
    _, parts = msgspec.json.schema_components(every, ref_template="#/components/schemas/{name}")
    found: dict[str, Any] = json.loads(msgspec.json.encode(parts))
    return found


CARRIERS = {
    "task": "task",
    "call": "call",
    "dispatch": "dispatch",
    "result": "result",
    "done": "result",
    "attempt": "attempt",
    "dead": "dead",
    "schedule": "task",
    "due": "task",
    "fired": "task",
    "event": "event",
    "config": "configuration",
}
"""The word of the headers' table for a channel's messages."""


def _header_schemas(rows: list[list[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in sorted(set(CARRIERS.values())):
        carried = [row for row in rows if word in re.findall(r"[a-z]+", row[2])]
        found[f"Headers-{word}"] = {
            "type": "object",
            "properties": {
                code(row[0]): {
                    "type": "string",
                    "description": _plain(row[3]),
                    "examples": [code(row[4])],
                }
                for row in carried
            },
        }
    return found


def _operations(rows: list[list[str]]) -> dict[str, Any]:
    """What each side does, by its name in the table: ``agent sends hb``."""
    found: dict[str, Any] = {}
    for row in rows:
        channel = channel_name(code(row[0]))
        writers, readers = row[2].split("→")
        for action, sides in (("send", writers), ("receive", readers)):
            for side in sides.split(","):
                who = side.strip().replace(" ", "-")
                found[f"{who}-{action}-{channel}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{channel}"},
                    "summary": f"{side.strip()} {action}s on {channel}",
                }
    return found


def text() -> str:
    """The document as it stands in its file."""
    body: str = yaml.safe_dump(build(), sort_keys=False, allow_unicode=True, width=98)
    return HEAD + body


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
