"""What a thing, a device that speaks only MQTT, says and is told: the bodies of its topics.

``docs/mqtt.md`` documents the same for people who write devices. Whatever a device says is
untrusted: bounds are part of the types, and what does not fit is refused where it is decoded.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from bus.wire.card import Capability

KIB: Final = 1024

MAX_TASK: Final = 128 * KIB
"""Bytes of the largest input, configuration or argument that a thing is sent."""

Boot = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
"""Which run of a device: new at each power-up, the same across reconnects."""
Text = Annotated[str, msgspec.Meta(max_length=200)]
Long = Annotated[str, msgspec.Meta(max_length=10_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**11)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=10**14)]
"""Unix time in milliseconds."""
Slots = Annotated[int, msgspec.Meta(ge=1, le=64)]
Every = Annotated[float, msgspec.Meta(ge=1, le=300)]
"""Seconds between two states of an idle device."""
TaskIds = Annotated[tuple[Text, ...], msgspec.Meta(max_length=256)]

# up: what a thing says


class ThingAnnounce(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sent after each connect: what the device is and offers."""

    boot: Boot
    site: Text = "default"
    labels: dict[str, str] = {}
    slots: Slots = 1
    capabilities: Annotated[tuple[Capability, ...], msgspec.Meta(max_length=32)] = ()
    commands: Annotated[tuple[Text, ...], msgspec.Meta(max_length=32)] = ()
    every: Every = 10.0
    version: Text = ""
    config: Text = ""
    """Hash of the configuration in force; empty while there is none."""
    tasks: TaskIds = ()
    """Tasks that it holds, those too whose result is not confirmed."""


class ThingState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sign of life."""

    boot: Boot
    tasks: TaskIds = ()
    every: Annotated[float, msgspec.Meta(ge=0, le=300)] = 0.0
    """0 for what was announced."""
    config: Text = ""
    rejected: Text = ""
    """Hash of a newer configuration that it would not take."""
    heap: Count = 0
    heap_free: Count = 0


class ThingGone(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last will (``gone``), and a goodbye (``bye``)."""

    boot: Boot


class ThingError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task failed."""

    message: Long
    kind: Text = ""


class ThingResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a task ended. Sent again until ``done`` comes."""

    task: Text
    state: Literal["completed", "failed", "rejected", "canceled"]
    output: Any = None
    output_base64: str = ""
    """Bytes instead of JSON."""
    content_type: Annotated[str, msgspec.Meta(pattern=r"\A[\w.+/;= -]{0,100}\Z")] = ""
    """Of ``output_base64``."""
    error: ThingError | None = None
    retry: bool = False
    """Of a ``failed``: try it again, here or elsewhere."""
    attempt: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """As in the task: tells a repetition from the next attempt's failure. 0 if unknown."""
    after_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    run_ms: Milliseconds = 0.0


class ThingProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sign of life from a task."""

    task: Text
    seq: Count
    value: Any = None
    message: Long = ""
    fraction: Annotated[float, msgspec.Meta(ge=-1, le=1)] = -1.0


class ThingTelemetry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Readings, one of each series."""

    boot: Boot
    seq: Count
    """Counts up within a boot: one that is repeated is stored once."""
    values: Annotated[dict[str, Any], msgspec.Meta(min_length=1, max_length=32)]
    """By series."""
    at_ms: Moment = 0
    """0 where the device has no clock: then it is when the broker got them."""
    units: Annotated[dict[str, Text], msgspec.Meta(max_length=32)] = {}
    """By series, for people."""


class ThingReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a command."""

    command: Text
    state: Literal["accepted", "ok", "failed", "rejected"]
    output: Any = None
    error: Long = ""
    elapsed_ms: Milliseconds = 0.0


# down: what a thing is told


class ThingHello(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to an announce."""

    boot: str
    now_ms: int
    """Unix time in milliseconds, for devices without a clock."""
    busy_every: float
    """Seconds between two states while the device holds a task, at the most."""


class ThingTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task. One for another boot is to be ignored."""

    task: str
    boot: str
    capability: str
    attempt: int
    """From 1."""
    deadline_ms: int = 0
    """Unix time in milliseconds after which nobody wants the result; 0 for none."""
    input: Any = None
    input_base64: str = ""
    """Bytes instead of JSON."""
    content_type: str = ""


class ThingCancel(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nobody wants a task's result any more."""

    task: str
    reason: str = ""


class ThingCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command that the device announced."""

    command: str
    """To be repeated in the reply. It may come twice."""
    verb: str
    args: dict[str, Any] = {}
    expires_ms: int = 0


class ThingConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The configuration, whole. Retained."""

    hash: str
    """To be reported in ``state`` once it is in force."""
    values: dict[str, Any]
    commit: str = ""


class ThingDone(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task's result is stored: forget it."""

    task: str


class ThingWho(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fleet does not know this device, or not this boot: announce, please."""

    reason: str = ""


UP: Final[dict[str, type[msgspec.Struct]]] = {
    "announce": ThingAnnounce,
    "state": ThingState,
    "result": ThingResult,
    "progress": ThingProgress,
    "telemetry": ThingTelemetry,
    "reply": ThingReply,
    "gone": ThingGone,
    "bye": ThingGone,
}
"""What a thing publishes, by the last word of the topic."""

DOWN: Final[dict[str, type[msgspec.Struct]]] = {
    "hello": ThingHello,
    "task": ThingTask,
    "cancel": ThingCancel,
    "command": ThingCommand,
    "config": ThingConfig,
    "done": ThingDone,
    "who": ThingWho,
}
"""What a thing is told, likewise."""

MAX_BODY: Final[dict[str, int]] = {
    "announce": 16 * KIB,
    "state": 16 * KIB,
    "result": 256 * KIB,
    "progress": 64 * KIB,
    "telemetry": 64 * KIB,
    "reply": 256 * KIB,
    "gone": KIB,
    "bye": KIB,
}
"""Bytes of the largest body that is looked at."""
