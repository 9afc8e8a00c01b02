"""Who the simulated agents are: names, sites, labels, what they offer."""

from __future__ import annotations

import os
import platform
import time
from typing import Final

from agent_runtime import built_in
from bus.version import VERSION
from bus.wire.card import Capability, Card

SLOTS: Final = 4
SITES: Final = 10
KINDS: Final = 8
"""Every agent offers ``echo``, and one in so many ``work-<kind>``."""

COMMANDS: Final = tuple(sorted(built_in.NAMES))

_TEXT_IN: Final = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "sentences": {"type": "integer", "default": 3}},
    "required": ["text"],
    "additionalProperties": False,
}
_BYTES_IN: Final = {
    "type": "object",
    "properties": {"data": {"type": "string", "contentEncoding": "base64"}},
    "required": ["data"],
    "additionalProperties": False,
}
_BYTES_OUT: Final = {"type": "string", "contentMediaType": "application/octet-stream"}

_STARTED_MS: Final = time.time_ns() // 1_000_000


def name(number: int) -> str:
    """Of the agent with this number."""
    return f"sim-{number:06d}"


_VERSIONS: Final = tuple(
    dict.fromkeys(("echo", f"work-{kind}"), Capability("any").version) for kind in range(KINDS)
)


def versions(number: int) -> dict[str, str]:
    """Version of each capability of the agent with this number; shared with others."""
    return _VERSIONS[number % KINDS]


def card(number: int) -> Card:
    """What an ordinary agent with two capabilities advertises: about 900 bytes of JSON."""
    return Card(
        agent=name(number),
        incarnation=os.urandom(6).hex(),
        site=f"site-{number % SITES}",
        labels={"env": "prod" if number % 2 else "test", "zone": f"z{number // 2 % 5}"},
        slots=SLOTS,
        capabilities=(
            Capability(
                "echo",
                description="Answer with the payload.",
                input_schema=_BYTES_IN,
                output_schema=_BYTES_OUT,
            ),
            Capability(
                f"work-{number % KINDS}",
                description="Shorten a text.",
                input_schema=_TEXT_IN,
                output_schema={"type": "string"},
            ),
        ),
        commands=COMMANDS,
        host=f"host-{number // 16}",
        pid=number % 32768,
        started_ms=_STARTED_MS,
        runtime=f"fleetbus/{VERSION} python/{platform.python_version()}",
    )
